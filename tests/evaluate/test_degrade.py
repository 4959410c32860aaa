from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.evaluate.degrade import DEGRADATIONS, degraded
from ssa_fast.volume.case import Case, find_cases, read_case
from tests.cases import ball_case, turned_affine, write_case

STEPS = [(name, severity) for name, known in DEGRADATIONS.items() for severity in range(1, len(known.steps))]


@pytest.fixture(scope="module")
def case() -> Case:
    return ball_case((1, 1, 1))[0]


def distance(case: Case, worse: Case) -> float:
    """Root mean square change over the brain, in deviations of the modality; the mean of the modalities."""
    changes = []
    for old, new in zip(case.volumes, worse.volumes, strict=True):
        inside = old.array != 0
        changes.append(np.sqrt(((new.array - old.array)[inside] ** 2).mean()) / old.array[inside].std())
    return float(np.mean(changes))


@pytest.mark.parametrize(("name", "severity"), STEPS)
def test_the_brain_stays_where_it_is_and_the_same_seed_gives_the_same_voxels(
    case: Case, name: str, severity: int
) -> None:
    worse, again = degraded(case, name, severity), degraded(case, name, severity)
    for old, new, twin in zip(case.volumes, worse.volumes, again.volumes, strict=True):
        assert np.array_equal(old.array != 0, new.array != 0)
        assert np.isfinite(new.array).all()
        assert np.array_equal(new.array, twin.array)
        assert new.affine is old.affine
    assert distance(case, worse) > 0


@pytest.mark.parametrize("name", ["noise", "bias", "thick", "gamma", "motion"])
def test_each_severity_changes_more_than_the_one_before(case: Case, name: str) -> None:
    changes = [distance(case, degraded(case, name, severity)) for severity in range(5)]
    assert changes[0] == 0
    assert (np.diff(changes) > 0).all(), changes


def test_only_the_modality_that_is_missing_is_changed(case: Case) -> None:
    worse = degraded(case, "no t2w", 1)
    same = [np.array_equal(old.array, new.array) for old, new in zip(case.volumes, worse.volumes, strict=True)]
    assert same == [True, True, False, True]


def test_the_noise_has_the_deviation_that_is_documented(tmp_path: Path) -> None:
    """Far above zero Rician noise is that of a Gaussian: 10 % of the range at severity 2."""
    [files] = find_cases([write_case(tmp_path, "A-1", shape=(40, 40, 40))])
    case = read_case(files)
    image = case.volumes[0].array
    inside = image != 0
    low, high = np.percentile(image[inside], (1, 99))
    bright = inside & (image > np.median(image[inside]))
    change = degraded(case, "noise", 2).volumes[0].array[bright] - image[bright]
    assert change.std() == pytest.approx(0.1 * (high - low), rel=0.05)


def test_thick_slices_run_from_feet_to_head_however_the_axes_run(tmp_path: Path) -> None:
    [files] = find_cases([write_case(tmp_path, "A-1", affine=turned_affine("SRA"))])  # the first axis goes up
    worse = degraded(read_case(files), "thick", 1).volumes[0].array  # 3 mm
    for first in range(0, len(worse), 3):
        slab = worse[first : first + 3]
        inside = (slab != 0).all(axis=0)
        assert np.ptp(slab[:, inside], axis=0).max(initial=0) == 0


def test_an_unknown_degradation_or_severity_is_refused(case: Case) -> None:
    with pytest.raises(ConfigError, match="no degradation 'rain': wanted one of noise, "):
        degraded(case, "rain", 1)
    with pytest.raises(ConfigError, match="no severity 2 of 'no t1n': wanted 0 to 1"):
        degraded(case, "no t1n", 2)
