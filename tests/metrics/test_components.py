from __future__ import annotations

import re
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

pytest.importorskip("cc3d", reason="needs connected-components-3d: pip install 'ssa-fast[evaluate]'")
pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")

from ssa_fast.errors import BackendUnavailable
from ssa_fast.metrics.components import box_around, components, grow

MASKS = arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))


def test_voxels_that_touch_by_a_corner_are_one_part_and_those_apart_are_two() -> None:
    mask = np.zeros((5, 3, 3), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 1, 1] = True
    parts = components(mask)
    assert parts[0, 0, 0] == parts[1, 1, 1] != parts[3, 1, 1]
    assert sorted(np.unique(parts)) == [0, 1, 2]


def test_nothing_has_no_part() -> None:
    assert not components(np.zeros((3, 3, 3), dtype=bool)).any()


def test_a_step_of_growth_goes_to_faces_and_edges_and_not_to_corners() -> None:
    seed = np.zeros((3, 3, 3), dtype=bool)
    seed[1, 1, 1] = True
    grown = grow(seed, 1)
    assert grown.sum() == 19
    assert not grown[::2, ::2, ::2].any()


@settings(max_examples=60)
@given(MASKS, st.integers(0, 3))
def test_growth_is_scipy_s_dilation_by_eighteen_neighbours(mask: npt.NDArray[np.bool_], steps: int) -> None:
    from scipy import ndimage

    structure = ndimage.generate_binary_structure(3, 2)
    expected = ndimage.binary_dilation(mask, structure, iterations=steps) if steps else mask  # 0 is "until it is full"
    np.testing.assert_array_equal(grow(mask, steps), expected)


def test_the_box_around_a_set_has_its_margin_and_ends_at_the_border() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[1, 4, 8] = True
    box = box_around(mask, 2)
    assert (box.start, box.stop) == ((0, 2, 6), (4, 7, 9))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cc3d", None)
    with pytest.raises(BackendUnavailable, match=re.escape("pip install 'ssa-fast[evaluate]'")):
        components(np.ones((2, 2, 2), dtype=bool))
