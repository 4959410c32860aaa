"""Voxels of other sizes: to 1 mm and back, in every orientation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssa_fast.errors import CaseError
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import spacing_mm
from ssa_fast.volume.nifti import Volume
from ssa_fast.volume.resample import labels_on_files, to_1_mm
from tests.cases import BALLS, ORIENTATIONS, ball_case
from tests.infer.fakes import BrightnessBackend

edges = st.floats(0.9, 3.0)


@given(
    st.tuples(edges, edges, edges).filter(lambda spacing: max(abs(edge - 1) for edge in spacing) > 0.01),
    st.sampled_from(ORIENTATIONS),
    st.sampled_from([0.0, 12.0]),
)
@settings(max_examples=25)
def test_smooth_shapes_come_back_on_the_grid_of_the_files(
    spacing: tuple[float, float, float], axes: str, degrees: float
) -> None:
    case, truth = ball_case(spacing, axes, degrees)
    segmentation = Segmenter(BrightnessBackend(), intake=Intake()).segment(case)
    assert segmentation.labels.shape == truth.shape
    for label in BALLS:
        ours, wanted = segmentation.labels == label, truth == label
        assert 2 * np.count_nonzero(ours & wanted) > 0.9 * (np.count_nonzero(ours) + np.count_nonzero(wanted))
        wanted_ml = np.count_nonzero(truth == label) * np.prod(spacing) / 1000
        assert segmentation.volumes_ml[{3: "ET", 2: "ED"}[label]] == pytest.approx(wanted_ml, rel=0.15)


@pytest.mark.parametrize("axes", ORIENTATIONS[::7])
def test_a_case_of_1_mm_is_untouched(axes: str) -> None:
    case, _ = ball_case((1, 1, 1), axes)
    assert to_1_mm(case) is None
    plain = Segmenter(BrightnessBackend()).segment(case)
    taken_in = Segmenter(BrightnessBackend(), intake=Intake()).segment(case)
    np.testing.assert_array_equal(plain.labels, taken_in.labels)
    assert plain.plan == taken_in.plan
    assert plain.volumes_ml == taken_in.volumes_ml


@given(st.tuples(edges, edges, st.floats(2.0, 6.0)), st.sampled_from(ORIENTATIONS))
@settings(max_examples=15)
def test_the_new_grid_has_1_mm_and_the_same_middle(spacing: tuple[float, float, float], axes: str) -> None:
    case, _ = ball_case(spacing, axes, 10)
    resampled = to_1_mm(case)
    assert resampled is not None
    assert spacing_mm(resampled.case.grid.affine) == pytest.approx((1, 1, 1))
    middles = []
    for one in (case, resampled.case):
        inside = np.argwhere(one.grid.array != 0).mean(axis=0)
        middles.append(nibabel.affines.apply_affine(one.grid.affine, inside))
    assert np.abs(middles[0] - middles[1]).max() < 0.5


@given(st.tuples(st.floats(0.4, 4.0), st.floats(0.4, 4.0), st.floats(0.4, 6.0)))
@settings(max_examples=15)
def test_a_flat_brain_stays_flat_up_to_its_edge(spacing: tuple[float, float, float]) -> None:
    case, _ = ball_case(spacing)
    flat = [
        dataclasses.replace(volume, array=np.where(volume.array != 0, np.float32(-7), np.float32(0)))
        for volume in case.volumes
    ]
    resampled = to_1_mm(dataclasses.replace(case, volumes=tuple(flat)))
    assert resampled is not None
    array = resampled.case.grid.array
    np.testing.assert_allclose(array[array != 0], -7, rtol=1e-5)
    liters = np.count_nonzero(case.grid.array) * np.prod(spacing) / 1e6
    assert np.count_nonzero(array) / 1e6 == pytest.approx(liters, rel=0.1)


def test_labels_are_0_outside_of_the_brain_and_fill_it_otherwise() -> None:
    case, _ = ball_case((1.5, 0.7, 4), "PIR")
    resampled = to_1_mm(case)
    assert resampled is not None
    ones = np.ones(resampled.case.grid.array.shape, dtype=np.uint8)
    for one in (resampled, resampled.without_voxels()):
        np.testing.assert_array_equal(labels_on_files(ones, one), case.grid.array != 0)


def test_halves_worked_by_hand() -> None:
    """Four voxels of 2 mm in a row: labels of eight voxels of 1 mm, of which a hat of 2 mm sees three in part."""
    array = np.zeros((4, 2, 2), dtype=np.float32)
    array[:] = 5
    affine = np.diag([2.0, 1, 1, 1])
    header = nibabel.Nifti1Image(array, affine).header
    volume = Volume(path=Path("row.nii"), array=array, affine=affine, header=header)
    resampled = to_1_mm(Case(name="row", volumes=(volume,) * 4))
    assert resampled is not None
    assert resampled.case.grid.array.shape == (8, 2, 2)
    fine = np.zeros((8, 2, 2), dtype=np.uint8)
    fine[:] = np.array([1, 1, 0, 0, 0, 2, 3, 3])[:, None, None]
    row = labels_on_files(fine, resampled)[:, 0, 0]
    assert row.tolist() == [1, 0, 0, 3]


def test_a_spacing_that_no_head_has_is_refused() -> None:
    case, _ = ball_case((1, 1, 3))
    far = [dataclasses.replace(one, affine=one.affine @ np.diag([1, 1, 10, 1])) for one in case.volumes]
    with pytest.raises(CaseError, match=r"voxels of 1 x 1 x 30 mm the brain would be 660 mm long: mend the spacing"):
        to_1_mm(dataclasses.replace(case, volumes=tuple(far)))
