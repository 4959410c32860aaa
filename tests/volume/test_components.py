"""Connected components, against a flood fill and pictures."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssa_fast.volume.components import Neighbors, components

masks = hnp.arrays(np.bool_, st.tuples(*[st.integers(1, 6)] * 3), elements=st.booleans())


def _flooded(mask: npt.NDArray[np.bool_], neighbors: Neighbors) -> list[frozenset[tuple[int, ...]]]:
    left = {tuple(int(place) for place in voxel) for voxel in np.argwhere(mask)}
    steps = [
        step
        for step in itertools.product((-1, 0, 1), repeat=3)
        if 0 < sum(map(abs, step)) <= (1 if neighbors == 6 else 3)
    ]
    found = []
    while left:
        todo, one = [min(left)], set()
        while todo:
            voxel = todo.pop()
            if voxel in left:
                left.remove(voxel)
                one.add(voxel)
                todo += [tuple(a + b for a, b in zip(voxel, step, strict=True)) for step in steps]
        found.append(frozenset(one))
    return found


@given(masks, st.sampled_from([6, 26]))
def test_components_are_those_of_a_flood_fill(mask: npt.NDArray[np.bool_], neighbors: Neighbors) -> None:
    found = components(mask, neighbors)
    wanted = _flooded(mask, neighbors)
    assert found.voxels.tolist() == [len(one) for one in wanted]
    for number, one in enumerate(wanted):
        only = np.arange(len(wanted)) == number
        assert {tuple(voxel) for voxel in np.argwhere(found.mask(only)).tolist()} == one
        border = any(place in (0, edge - 1) for voxel in one for place, edge in zip(voxel, mask.shape, strict=True))
        assert found.touch_border[number] == border
    np.testing.assert_array_equal(found.mask(np.ones(len(wanted), dtype=np.bool_)), mask)


def test_corners_touch_among_26_and_not_among_6() -> None:
    picture = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 1]], dtype=np.bool_)
    assert components(picture[None], 26).voxels.tolist() == [2, 1, 2, 1]
    assert components(picture[None], 6).voxels.tolist() == [1, 1, 1, 2, 1]


@pytest.mark.parametrize("neighbors", [6, 26])
def test_a_long_snake_is_one(neighbors: Neighbors) -> None:
    """Equivalences that only meet at the end take many rounds."""
    mask = np.zeros((41, 3, 40), dtype=np.bool_)
    mask[::2, 1] = True
    mask[1::4, 1, -1] = True
    mask[3::4, 1, 0] = True
    assert components(mask, neighbors).voxels.tolist() == [mask.sum()]


def test_nothing_has_no_components() -> None:
    found = components(np.zeros((3, 4, 5), dtype=np.bool_))
    assert len(found.voxels) == 0
    assert not found.mask(np.zeros(0, dtype=np.bool_)).any()
