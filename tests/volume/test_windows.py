"""Windows over a volume, and their blending."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_fast.errors import ShapeError
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.windows import blended_slabs, gaussian_weights, window_boxes, window_starts

axes = st.integers(1, 60).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size)))
overlaps = st.floats(0, 0.9)


def _blended(volume: FloatArray, boxes: list, batch: int = 1, **more: object) -> FloatArray:  # type: ignore[type-arg]
    result = np.full(volume.shape, np.nan, dtype=np.float32)
    foreground = more.get("foreground", np.ones(volume.shape[1:], dtype=np.bool_))
    for first, slab in blended_slabs(volume, boxes, lambda windows: windows, foreground=foreground, batch=batch):  # type: ignore[arg-type]
        assert np.isnan(result[:, first : first + slab.shape[1]]).all(), "a slab came twice"
        result[:, first : first + slab.shape[1]] = slab
    return result


def test_starts_worked_by_hand() -> None:
    assert window_starts(110, 64, 0.5) == [0, 23, 46]
    assert window_starts(64, 64, 0.5) == [0]
    assert window_starts(128, 64, 0.0) == [0, 64]
    assert window_starts(129, 64, 0.0) == [0, 32, 65]


@given(axes, overlaps)
def test_windows_cover_every_voxel_and_end_at_the_border(axis: tuple[int, int], overlap: float) -> None:
    size, window = axis
    starts = window_starts(size, window, overlap)
    assert starts[0] == 0
    assert starts[-1] == size - window
    assert starts == sorted(set(starts))
    covered = np.zeros(size, dtype=int)
    for start in starts:
        covered[start : start + window] += 1
    assert covered.min() >= 1
    for one, other in itertools.pairwise(starts):
        assert other - one <= max(1, window * (1 - overlap)) + 1


@pytest.mark.parametrize(("size", "window", "overlap"), [(10, 11, 0.5), (10, 0, 0.5), (10, 5, 1.0), (10, 5, -0.1)])
def test_what_cannot_be_cut_is_refused(size: int, window: int, overlap: float) -> None:
    with pytest.raises(ShapeError):
        window_starts(size, window, overlap)


def test_weights_are_largest_in_the_middle_and_nowhere_zero() -> None:
    weights = gaussian_weights((16, 8, 12))
    assert weights.shape == (16, 8, 12)
    assert weights.max() == weights[7, 3, 5]
    assert weights.min() > 0
    np.testing.assert_array_equal(weights, weights[::-1, ::-1, ::-1])


@given(
    st.tuples(*[st.integers(4, 14)] * 3),
    st.tuples(*[st.integers(2, 6)] * 3),
    overlaps,
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_an_identity_network_gives_back_its_input(
    shape: tuple[int, int, int], window: tuple[int, int, int], overlap: float, batch: int, seed: int
) -> None:
    window = tuple(min(edge, size) for edge, size in zip(window, shape, strict=True))  # type: ignore[assignment]
    volume = np.random.default_rng(seed).standard_normal((2, *shape), dtype=np.float32)
    blended = _blended(volume, window_boxes(shape, window, overlap), batch)
    np.testing.assert_allclose(blended, volume, rtol=1e-4, atol=1e-5)


def test_windows_without_brain_are_passed_by_and_those_with_it_are_not() -> None:
    volume = np.ones((1, 12, 8, 8), dtype=np.float32)
    foreground = np.zeros((12, 8, 8), dtype=np.bool_)
    foreground[9, 1, 1] = True
    seen = []

    def network(windows: FloatArray) -> FloatArray:
        seen.append(windows.shape)
        return windows

    boxes = window_boxes((12, 8, 8), (4, 4, 4), 0.0)
    slabs = dict(blended_slabs(volume, boxes, network, foreground=foreground))
    assert seen == [(1, 1, 4, 4, 4)]
    assert slabs.keys() == {8}  # before it, no network has said how many labels there are
    assert slabs[8][0, :, :4, :4].min() == 1
    assert slabs[8][0, :, 4:, 4:].max() == 0


def test_memory_does_not_grow_with_the_overlap() -> None:
    volume = np.ones((1, 96, 24, 24), dtype=np.float32)
    foreground = np.ones(volume.shape[1:], dtype=np.bool_)

    def peak(overlap: float) -> int:
        boxes = window_boxes(volume.shape[1:], (16, 16, 16), overlap)
        gaussian_weights((16, 16, 16))
        tracemalloc.start()
        for _ in blended_slabs(volume, boxes, lambda windows: np.repeat(windows, 4, axis=1), foreground=foreground):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(0.75) < 1.2 * peak(0.0)
    assert peak(0.75) < 4 * 96 * 24 * 24 * 4  # all logits at once
