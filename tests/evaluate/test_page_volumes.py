"""What a page shows lies where the files say, in RAS axes, and in the values that its legends name."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.page_volumes import EXTRA, MISSED, OTHER, Scene, difference, nifti_bytes, read_scene
from ssa_fast.volume.case import find_cases
from ssa_fast.volume.nifti import read_labels
from tests.cases import SHAPE, tumor_labels, turned_affine, write_case, write_nifti

NAME = "BraTS-SSA-00001-000"


def _scene(folder: Path, axes: str = "RAS", maps: dict[str, Path] | None = None) -> Scene:
    affine = turned_affine(axes, (10, -20, 30))
    write_case(folder / "cases", NAME, affine=affine)
    prediction = write_nifti(folder / f"{NAME}.nii.gz", tumor_labels(), affine)
    [files] = find_cases([folder / "cases"])
    return read_scene(files, read_labels(prediction), maps or {})


def test_a_difference_says_of_each_voxel_what_is_wrong_with_it() -> None:
    reference = np.array([0, 1, 2, 0, 3, 3], dtype=np.uint8)
    prediction = np.array([0, 1, 0, 2, 2, 3], dtype=np.uint8)
    assert difference(reference, prediction).tolist() == [0, 0, MISSED, EXTRA, OTHER, 0]


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR"])
def test_a_voxel_of_the_page_is_at_the_millimetre_of_the_file(tmp_path: Path, axes: str) -> None:
    scene = _scene(tmp_path, axes)
    assert nibabel.aff2axcodes(scene.affine) == ("R", "A", "S")
    whole = nibabel.load(tmp_path / f"{NAME}.nii.gz")
    for label in (1, 2, 3):
        wanted = (np.argwhere(whole.get_fdata() == label) @ whole.affine[:3, :3].T + whole.affine[:3, 3]).mean(axis=0)
        shown = np.argwhere(scene.labels["prediction"] == label)
        assert len(shown) == np.count_nonzero(whole.get_fdata() == label)
        found = (shown @ scene.affine[:3, :3].T + scene.affine[:3, 3]).mean(axis=0)
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_images_are_black_outside_of_the_brain_and_only_there(tmp_path: Path) -> None:
    scene = _scene(tmp_path)
    [files] = find_cases([tmp_path / "cases"])
    for number, modality in enumerate(("t1n", "t1c", "t2w", "t2f")):
        array = nibabel.load(files.one(modality)).get_fdata()
        assert np.count_nonzero(scene.images[..., number]) == np.count_nonzero(array)
        assert scene.images[..., number].max() == 255
    assert scene.images.shape[2] + scene.first_slice <= scene.slices == SHAPE[2]


def test_a_map_is_shown_in_255ths(tmp_path: Path) -> None:
    values = np.zeros(SHAPE, dtype=np.float32)
    middle = tuple(edge // 2 for edge in SHAPE)
    values[middle] = 0.4
    path = write_nifti(tmp_path / "map.nii.gz", values, turned_affine("RAS", (10, -20, 30)))
    assert _scene(tmp_path, maps={"entropy": path}).maps["entropy"].max() == 102


def test_a_map_of_another_grid_is_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "map.nii.gz", np.zeros((4, 4, 4), dtype=np.float32))
    with pytest.raises(CaseError, match=f"case {NAME}: .*map.nii.gz: shape"):
        _scene(tmp_path, maps={"entropy": path})


def test_the_file_in_a_page_is_a_nifti_that_nibabel_reads() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    affine = turned_affine("RAS", (1, 2, 3))
    content = nifti_bytes(array, affine)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    np.testing.assert_array_equal(np.asarray(image.dataobj), array)
    np.testing.assert_allclose(image.affine, affine)
    assert nifti_bytes(array, affine) == content
