"""Boxes, padding and axes."""

from __future__ import annotations

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssa_fast.errors import ShapeError
from ssa_fast.volume.geometry import (
    Box,
    bounding_box,
    pad_to_multiple,
    padded_shape,
    spacing_mm,
    to_orientation,
    to_ras,
)
from tests.cases import ORIENTATIONS, rotation, turned_affine

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=7)


def _naive_box(foreground: npt.NDArray[np.bool_]) -> Box:
    places = np.argwhere(foreground)
    return Box(tuple(places.min(axis=0).tolist()), tuple((places.max(axis=0) + 1).tolist()))


@given(hnp.arrays(np.bool_, SHAPES).filter(np.any))
def test_the_bounding_box_is_that_of_all_true_voxels(foreground: npt.NDArray[np.bool_]) -> None:
    assert bounding_box(foreground) == _naive_box(foreground)


@given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), *(st.integers(0, edge - 1) for edge in shape))))
def test_the_box_of_one_voxel_is_that_voxel(place: tuple[tuple[int, int, int], int, int, int]) -> None:
    shape, *voxel = place
    foreground = np.zeros(shape, dtype=np.bool_)
    foreground[tuple(voxel)] = True
    box = bounding_box(foreground)
    assert (box.start, box.shape) == (tuple(voxel), (1, 1, 1))


def test_the_box_of_an_l_shape_drawn_by_hand() -> None:
    drawn = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]])  # X down, Y across
    foreground = np.zeros((4, 4, 3), dtype=np.bool_)
    foreground[:, :, 1] = drawn
    assert bounding_box(foreground) == Box((1, 1, 1), (4, 3, 2))


def test_the_box_of_an_axis_order_that_nibabel_flips_is_the_same() -> None:
    foreground = np.asfortranarray(np.random.default_rng(0).random((5, 6, 7)) > 0.98)
    assert bounding_box(foreground[::-1]) == _naive_box(foreground[::-1])


def test_a_box_around_nothing_is_refused() -> None:
    with pytest.raises(ShapeError, match="no voxel"):
        bounding_box(np.zeros((3, 3, 3), dtype=np.bool_))


def test_a_box_is_its_start_to_its_stop() -> None:
    box = Box((1, 2, 3), (2, 5, 7))
    assert box.shape == (1, 3, 4)
    assert np.zeros((9, 9, 9))[box.slices].shape == (1, 3, 4)
    assert box.slices == (slice(1, 2), slice(2, 5), slice(3, 7))


def test_the_worked_number_of_padded_shape_holds() -> None:
    assert padded_shape((140, 172, 138), 16) == (144, 176, 144)


@given(st.tuples(*[st.integers(1, 300)] * 3), st.integers(1, 64))
def test_a_padded_edge_is_the_next_multiple(shape: tuple[int, int, int], divisor: int) -> None:
    for edge, padded in zip(shape, padded_shape(shape, divisor), strict=True):
        assert padded % divisor == 0
        assert 0 <= padded - edge < divisor


_ARRAYS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=4, max_dims=4, max_side=6), elements=st.floats(1, 2, width=32)
)


@given(_ARRAYS, st.integers(1, 9))
def test_padding_is_undone_by_the_box_it_gives(array: npt.NDArray[np.float32], divisor: int) -> None:
    padded, inner = pad_to_multiple(array, divisor)
    assert padded.shape == (array.shape[0], *padded_shape(array.shape[1:], divisor))
    np.testing.assert_array_equal(padded[(slice(None), *inner.slices)], array)


@given(_ARRAYS, st.integers(1, 9))
def test_padding_is_zero_and_as_wide_on_both_sides_to_within_one_voxel(
    array: npt.NDArray[np.float32], divisor: int
) -> None:
    padded, inner = pad_to_multiple(array, divisor)
    assert np.count_nonzero(padded) == array.size  # every value drawn is at least 1
    for start, stop, edge in zip(inner.start, inner.stop, padded.shape[1:], strict=True):
        assert 0 <= (edge - stop) - start <= 1


def test_a_padded_array_is_a_new_one_in_c_order() -> None:
    array = np.ones((4, 16, 16, 16), dtype=np.float32)
    padded, _ = pad_to_multiple(array, 16)
    assert not np.shares_memory(array, padded)
    assert padded.flags.c_contiguous
    assert padded.dtype == np.float32


def test_an_lps_slice_drawn_by_hand_is_turned_to_ras() -> None:
    lps = np.array([[1, 2, 3], [4, 5, 6]])[:, :, np.newaxis]  # X runs to the left, Y to the back
    wanted = [[6, 5, 4], [3, 2, 1]]
    assert to_ras(lps, np.diag([-1.0, -1.0, 1.0, 1.0]))[:, :, 0].tolist() == wanted


def test_a_sagittal_slice_drawn_by_hand_is_turned_to_ras() -> None:
    affine = np.array([[0, 0, -1.0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]])  # axes: A S L
    asl = np.array([[[1, 2], [3, 4], [5, 6]]])  # (A=1, S=3, L=2)
    ras = to_ras(asl, affine)
    assert ras.shape == (2, 1, 3)
    assert ras[:, 0, :].tolist() == [[2, 4, 6], [1, 3, 5]]


def _places_mm(shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(3, X, Y, Z): where every voxel of a file lies, R A S in mm."""
    indices = np.indices(shape, dtype=np.float64)
    return np.tensordot(affine[:3, :3], indices, axes=1) + affine[:3, 3].reshape(3, 1, 1, 1)


@pytest.mark.parametrize("degrees", [0, 12])
@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_axes_run_to_right_anterior_superior_after_to_ras(axes: str, degrees: int) -> None:
    affine = rotation(degrees) @ turned_affine(axes, origin_mm=(-5, 7, 3))
    for axis, place in enumerate(_places_mm((3, 4, 5), affine)):
        assert (np.diff(to_ras(place, affine), axis=axis) > 0.9).all()


@pytest.mark.parametrize("degrees", [0, 12])
@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_to_orientation_is_the_inverse_of_to_ras(axes: str, degrees: int) -> None:
    affine = rotation(degrees) @ turned_affine(axes)
    array = np.arange(60).reshape(3, 4, 5)
    np.testing.assert_array_equal(to_orientation(to_ras(array, affine), affine), array)
    np.testing.assert_array_equal(to_ras(to_orientation(array, affine), affine), array)


def test_the_48_orientations_of_these_tests_are_48_and_bear_their_own_names() -> None:
    assert len(set(ORIENTATIONS)) == 48
    for axes in ORIENTATIONS:
        assert "".join(nibabel.aff2axcodes(turned_affine(axes))) == axes


def test_turning_copies_nothing() -> None:
    array = np.zeros((3, 4, 5), dtype=np.float32)
    assert np.shares_memory(array, to_ras(array, np.diag([-1.0, -1.0, 1.0, 1.0])))


@pytest.mark.parametrize("degrees", [0, 12])
@pytest.mark.parametrize("axes", ORIENTATIONS[::7])
def test_spacing_is_that_of_the_files_own_axes_whatever_their_direction(axes: str, degrees: int) -> None:
    affine = rotation(degrees) @ turned_affine(axes) @ np.diag([1, 1.2, 3, 1])
    assert spacing_mm(affine) == pytest.approx((1, 1.2, 3))
