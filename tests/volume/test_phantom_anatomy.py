"""The pieces that phantom heads are built of, each on arrays small enough to reckon with."""

import numpy as np
import pytest

from ssa_fast.volume.phantom_anatomy import random_field, soft_step


def test_soft_step_is_half_at_the_border_and_symmetric_about_it():
    step = soft_step(np.array([-50, -1, 0, 1, 50], dtype=np.float32), 0.5)
    assert step[[0, 2, 4]].tolist() == [0, 0.5, 1]
    assert step[1] + step[3] == pytest.approx(1)
    assert 0 < step[1] < step[3] < 1


@pytest.mark.parametrize("folded", [False, True])
def test_random_field_has_mean_zero_and_deviation_one(folded):
    field = random_field(np.random.default_rng(0), (40, 48, 44), 4.0, folded=folded)
    assert field.shape == (40, 48, 44)
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=0.05)
    assert field.std() == pytest.approx(1, abs=0.05)


def test_random_field_changes_slower_where_the_spacing_is_wider():
    steps = [
        np.abs(np.diff(random_field(np.random.default_rng(0), (48, 48, 48), s), axis=0)).mean() for s in (3, 6, 12)
    ]
    assert steps[0] > 1.6 * steps[1] > 1.6**2 * steps[2]


def test_folded_field_crosses_zero_more_often():
    def crossings(folded: bool) -> int:
        field = random_field(np.random.default_rng(0), (64, 64, 64), 6.0, folded=folded)
        return int(np.count_nonzero(np.diff(np.sign(field), axis=2)))

    assert crossings(folded=True) > 1.2 * crossings(folded=False)
