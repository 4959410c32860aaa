from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.anatomy import anatomy, case_anatomies
from ssa_fast.volume.case import find_cases
from ssa_fast.volume.geometry import to_orientation
from ssa_fast.volume.nifti import Volume
from tests.cases import SHAPE, tumor_labels, turned_affine, write_case, write_nifti

SPACING = (1.0, 2.0, 3.0)  # in RAS


def labelled(axes: str = "RAS") -> tuple[Volume, np.ndarray[tuple[int, int, int], np.dtype[np.bool_]]]:
    """In a brain of 20 voxels from left to right (2 to 22): ET 4 x 4 x 4 on the left, ED 5 x 4 x 3 on the right."""
    ras = np.zeros((24, 20, 18), dtype=np.uint8)
    ras[4:8, 4:8, 4:8] = 3
    ras[15:20, 10:14, 10:13] = 2
    brain = np.zeros(ras.shape, dtype=np.bool_)
    brain[2:22, 1:19, 1:17] = True
    affine = turned_affine(axes, (-10, 0, 0))
    affine[:3, :3] = np.diag(SPACING) @ affine[:3, :3]
    array = np.asarray(to_orientation(ras, affine))
    header = nibabel.Nifti1Image(array, affine).header
    return Volume(path=Path("l.nii.gz"), array=array, affine=affine, header=header), to_orientation(brain, affine) != 0


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR", "AIL"])
def test_numbers_are_those_worked_out_by_hand_however_the_axes_run(axes: str) -> None:
    found = anatomy(*labelled(axes))
    et, ed, wt = (found.shapes[target] for target in ("ET", "ED", "WT"))
    assert et is not None
    assert ed is not None
    assert wt is not None
    assert found.shapes["NCR"] is None
    assert et.volume_ml == pytest.approx(64 * 6 / 1000)
    assert ed.box_mm == pytest.approx((5, 8, 9))
    assert (et.side, ed.side, wt.side) == ("left", "right", "both")
    assert wt.left_share == pytest.approx(64 / 124)
    assert (et.lesions, ed.lesions, wt.lesions) == (1, 1, 2)
    np.testing.assert_allclose(found.areas_mm2["ET"], [32 if 4 <= z < 8 else 0 for z in range(18)])
    np.testing.assert_allclose(found.areas_mm2["ED"], [40 if 10 <= z < 13 else 0 for z in range(18)])


def test_the_centroid_is_in_the_coordinates_of_the_affine() -> None:
    et = anatomy(*labelled()).shapes["ET"]
    assert et is not None
    assert et.centroid_mm == pytest.approx((-10 + 5.5, 2 * 5.5, 3 * 5.5))


def test_the_surface_is_that_of_marching_cubes() -> None:
    """The six faces of a box of 4 x 4 x 4 voxels, less a rim: between the faces' middle and their whole."""
    et = anatomy(*labelled()).shapes["ET"]
    assert et is not None
    whole = 2 * (8 * 12 + 4 * 12 + 4 * 8)
    assert 0.75 * whole < et.surface_mm2 < whole


def test_a_voxel_that_the_middle_halves_counts_half_on_each_side() -> None:
    volume, brain = labelled()
    brain[2] = False  # the brain is now 3 to 22, its middle 12.5
    volume.array[:] = 0
    volume.array[12, 5:15, 5:15] = 1
    ncr = anatomy(volume, brain).shapes["NCR"]
    assert ncr is not None
    assert ncr.left_share == pytest.approx(0.5)


def test_specks_of_50_mm3_are_no_lesions() -> None:
    volume, brain = labelled()
    volume.array[20, 1, 1:9] = 3  # 8 voxels of 6 mm3
    found = anatomy(volume, brain).shapes["ET"]
    assert found is not None
    assert found.lesions == 1


def test_a_case_has_its_reference_and_its_prediction_on_one_grid(tmp_path: Path) -> None:
    [files] = find_cases([write_case(tmp_path, "A-1")])
    prediction = write_nifti(tmp_path / "p.nii.gz", tumor_labels())
    found = case_anatomies(files, prediction)
    assert found["reference"].shapes == found["prediction"].shapes
    write_nifti(tmp_path / "p.nii.gz", np.zeros((*SHAPE[:2], 3), dtype=np.uint8))
    with pytest.raises(CaseError, match=r"case A-1: .*p\.nii\.gz: shape"):
        case_anatomies(files, prediction)
