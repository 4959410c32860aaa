"""From logits back to the grid of the input."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssa_fast.errors import ConfigError, NumericsError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import Case, find_cases, read_case, read_reference
from ssa_fast.volume.geometry import Box
from ssa_fast.volume.nifti import Volume, write_labels
from ssa_fast.volume.postprocess import (
    POSTPROCESSING,
    Postprocessing,
    labels_from_logits,
    named_postprocessing,
    postprocess,
    restore_labels,
)
from ssa_fast.volume.preprocess import Brain, crop_to_brain, pad_brain
from tests.cases import (
    ORIENTATIONS,
    SHAPE,
    brain_ellipsoid,
    rotation,
    tumor_labels,
    turned_affine,
    write_case,
    write_nifti,
)


def test_nan_is_an_error_and_not_an_empty_map() -> None:
    logits = np.zeros((4, 2, 2, 2), dtype=np.float32)
    logits[2, 1, 1, 1] = np.nan
    with pytest.raises(NumericsError, match="NaN logits"):
        labels_from_logits(logits)


class TestLabelsFromLogits:
    # few values, so that ties are common
    @given(
        hnp.arrays(
            np.float32, hnp.array_shapes(min_dims=4, max_dims=4, max_side=5), elements=st.sampled_from([-1, 0, 0.5, 2])
        )
    )
    def test_labels_are_numpys_argmax_also_in_ties(self, logits: npt.NDArray[np.float32]) -> None:
        labels = labels_from_logits(logits)
        np.testing.assert_array_equal(labels, np.argmax(logits, axis=0))
        assert labels.dtype == np.uint8

    @given(hnp.arrays(np.float32, (4, 2, 3, 2), elements=st.floats(width=32, allow_nan=False)))
    def test_labels_are_numpys_argmax_for_any_number(self, logits: npt.NDArray[np.float32]) -> None:
        np.testing.assert_array_equal(labels_from_logits(logits), np.argmax(logits, axis=0))

    def test_one_voxel_a_label_worked_by_hand(self) -> None:
        voxels = [[3, 1, 1, 1], [0, 9, 2, 2], [-5, -4, -3, -4], [0, 0, 0, 1e-6], [1, 2, 2, 2]]
        logits = np.array(voxels, dtype=np.float32).T.reshape(4, 5, 1, 1)
        assert labels_from_logits(logits).ravel().tolist() == [0, 1, 2, 3, 1]

    def test_the_logits_are_left_as_they_were(self) -> None:
        logits = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
        before = logits.copy()
        labels_from_logits(logits)
        np.testing.assert_array_equal(logits, before)


def _drawn_on(labels: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64]) -> Case:
    """A case that shows its labels: voxels of the brain are 100, 200, 300, 400 for label 0, 1, 2, 3."""
    shown = np.where(brain_ellipsoid(SHAPE), 100.0 * (labels + 1), 0)
    volume = Volume(path=Path("a.nii"), array=shown, affine=affine, header=nibabel.Nifti1Header())
    return Case(name="A", volumes=(volume,) * len(MODALITIES))


def _perfect_network(windows: npt.NDArray[np.float32], levels: int) -> npt.NDArray[np.float32]:
    """Logits (4, X, Y, Z) that are right for `_drawn_on`: the label is the rank of the intensity within the brain."""
    shown = np.round(windows[0, 0], 3)
    ranks = np.unique(shown[windows[0].any(axis=0)])
    assert len(ranks) == levels
    labels = np.searchsorted(ranks, shown).clip(0, levels - 1)
    return np.asarray(np.arange(4).reshape(4, 1, 1, 1) == labels, dtype=np.float32)


def _segment(case: Case, levels: int, divisor: int = 16) -> npt.NDArray[np.uint8]:
    brain = crop_to_brain(case)
    windows, inner = pad_brain(brain, divisor)
    return restore_labels(labels_from_logits(_perfect_network(windows, levels)), inner, brain, case)


class TestRestoreLabels:
    @settings(max_examples=60)
    @given(
        axes=st.sampled_from(ORIENTATIONS),
        degrees=st.sampled_from([0, 4]),
        divisor=st.sampled_from([1, 8, 16]),
        drawn=hnp.arrays(np.uint8, (6, 5, 4), elements=st.integers(0, 3)),
    )
    def test_labels_drawn_in_the_files_axes_come_back_where_they_were(
        self, axes: str, degrees: int, divisor: int, drawn: npt.NDArray[np.uint8]
    ) -> None:
        labels = np.zeros(SHAPE, dtype=np.uint8)
        labels[9:15, 6:11, 7:11] = drawn  # inside the brain
        labels[8, 6, 7:11] = [0, 1, 2, 3]  # all four are there, so that intensity tells them apart
        affine = rotation(degrees) @ turned_affine(axes, origin_mm=(-20, 8, 3))
        restored = _segment(_drawn_on(labels, affine), levels=4, divisor=divisor)
        np.testing.assert_array_equal(restored, labels)
        assert restored.dtype == np.uint8

    @pytest.mark.parametrize("axes", ORIENTATIONS)
    def test_a_tumour_comes_back_in_each_of_the_48_orientations(self, axes: str) -> None:
        case = _drawn_on(tumor_labels(), turned_affine(axes))
        np.testing.assert_array_equal(_segment(case, levels=4), tumor_labels())

    def test_labels_outside_the_brain_are_dropped(self, tmp_path: Path) -> None:
        case = read_case(find_cases([write_case(tmp_path, "A")])[0])
        brain = crop_to_brain(case)
        windows, inner = pad_brain(brain, 16)
        everywhere = np.full(windows.shape[2:], 2, dtype=np.uint8)
        np.testing.assert_array_equal(restore_labels(everywhere, inner, brain, case), 2 * brain_ellipsoid())

    def test_a_2x2_slice_drawn_by_hand_lands_in_its_lps_file(self) -> None:
        array = np.ones((4, 4, 1))
        volume = Volume(path=Path("a.nii"), array=array, affine=turned_affine("LPS"), header=nibabel.Nifti1Header())
        box = Box((1, 0, 0), (3, 2, 1))  # in RAS axes
        brain = Brain(
            array=np.ones((4, 2, 2, 1), dtype=np.float32),
            foreground=np.array([[[True], [True]], [[True], [False]]]),
            box=box,
            ras_shape=(4, 4, 1),
        )
        padded = np.zeros((4, 4, 1), dtype=np.uint8)
        padded[1:3, 1:3, 0] = [[1, 2], [3, 3]]
        restored = restore_labels(padded, Box((1, 1, 0), (3, 3, 1)), brain, Case(name="A", volumes=(volume,) * 4))
        wanted = [
            [0, 0, 0, 0],
            [0, 0, 0, 3],
            [0, 0, 2, 1],
            [0, 0, 0, 0],
        ]
        assert restored[:, :, 0].tolist() == wanted


@pytest.mark.parametrize("image_class", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("degrees", [0, 5])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SLA"])
def test_a_case_on_disk_goes_through_and_its_map_lies_on_its_own_voxels(
    axes: str, degrees: int, image_class: type[nibabel.Nifti1Image], tmp_path: Path
) -> None:
    affine = rotation(degrees) @ turned_affine(axes, origin_mm=(90, -126, 72))
    shown = np.where(brain_ellipsoid(), 100 * (tumor_labels().astype(np.int16) + 1), 0)
    for modality in MODALITIES:
        write_nifti(tmp_path / "A" / f"A-{modality}.nii.gz", shown, affine, image_class=image_class)
    case = read_case(find_cases([tmp_path / "A"])[0])
    write_labels(tmp_path / "out" / "A.nii.gz", _segment(case, levels=4), case.grid)
    image, wanted = nibabel.load(tmp_path / "out" / "A.nii.gz"), nibabel.load(tmp_path / "A" / "A-t1n.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), tumor_labels())
    np.testing.assert_array_equal(image.affine, wanted.affine)
    assert "".join(nibabel.aff2axcodes(image.affine)) == axes
    assert type(image) is image_class
    assert image.get_data_dtype() == np.uint8


def test_a_whole_reference_comes_back_on_its_own_voxels(whole_case: Path, tmp_path: Path) -> None:
    [files] = find_cases([whole_case])
    case = read_case(files)
    brain = crop_to_brain(case)
    _, inner = pad_brain(brain, 16)
    padded = np.zeros(tuple(stop + 3 for stop in inner.stop), dtype=np.uint8)
    padded[inner.slices] = read_reference(files, case)[brain.box.slices]
    write_labels(tmp_path / "A.nii.gz", restore_labels(padded, inner, brain, case), case.grid)
    reference = nibabel.load(files.one("seg"))
    image = nibabel.load(tmp_path / "A.nii.gz")
    wanted = np.asanyarray(reference.dataobj)
    inside = np.any([volume.array != 0 for volume in case.volumes], axis=0)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), wanted * inside)
    assert (wanted[~inside] > 0).mean() < 1e-5  # the reference itself lies in the brain
    np.testing.assert_array_equal(image.affine, reference.affine)


def _plane(*rows: str) -> npt.NDArray[np.uint8]:
    """A picture of labels, dots for background, as the middle one of three planes (3, rows, columns)."""
    plane = np.array([[0 if sign == "." else int(sign) for sign in row] for row in rows], dtype=np.uint8)
    return np.stack([np.zeros_like(plane), plane, np.zeros_like(plane)])


class TestPostprocess:
    def test_the_largest_part_stays_and_corners_hold_it_together(self) -> None:
        labels = _plane("22...1", "2.3..1", "...2.1", "......", "3....3")
        wanted = _plane("22....", "2.3...", "...2..", "......", "......")
        np.testing.assert_array_equal(postprocess(labels, POSTPROCESSING["largest"]), wanted)

    def test_parts_below_their_least_volume_go_but_never_all(self) -> None:
        labels = _plane("22.1.3", "22.1..")
        wanted = _plane("22.1..", "22.1..")
        np.testing.assert_array_equal(postprocess(labels, Postprocessing(least_part_ml=0.002)), wanted)
        np.testing.assert_array_equal(postprocess(labels, Postprocessing(least_part_ml=1)), _plane("22....", "22...."))

    def test_holes_of_the_core_are_necrosis_and_those_of_the_tumor_oedema(self) -> None:
        solid = np.full((5, 5, 5), 2, dtype=np.uint8)
        solid[1:4, 1:4, 1:4] = 3
        wanted = solid.copy()
        for place in ((2, 2, 2), (0, 2, 2)):
            solid[place] = 0  # the second lies at the border and is no hole
        wanted[2, 2, 2], wanted[0, 2, 2] = 1, 0
        np.testing.assert_array_equal(postprocess(solid, POSTPROCESSING["holes"]), wanted)
        shell = np.full((5, 5, 5), 2, dtype=np.uint8)
        shell[2, 2, 2] = 0
        assert (postprocess(shell, POSTPROCESSING["holes"]) == 2).all()
        core = np.full((5, 5, 5), 3, dtype=np.uint8)
        core[2, 2, 2] = 2  # oedema within the core
        assert postprocess(core, POSTPROCESSING["holes"])[2, 2, 2] == 1

    def test_a_little_enhancing_tumor_is_necrosis_and_enough_of_it_stays(self) -> None:
        labels = _plane("2233", "2233", "11..")
        np.testing.assert_array_equal(
            postprocess(labels, Postprocessing(least_et_ml=0.005)), _plane("2211", "2211", "11..")
        )
        np.testing.assert_array_equal(postprocess(labels, Postprocessing(least_et_ml=0.004)), labels)
        assert (postprocess(labels, POSTPROCESSING["small-et"]) != 3).all()

    def test_small_parts_of_the_core_are_oedema_and_small_ones_of_et_necrosis(self) -> None:
        labels = _plane("33.2.3", "33.212", "11.2.2", "3..222")
        core, et = Postprocessing(least_core_part_ml=0.002), Postprocessing(least_et_part_ml=0.002)
        np.testing.assert_array_equal(postprocess(labels, core), _plane("33.2.3", "33.212", "11.2.2", "3..222"))
        apart = _plane("33.2..", "33.212", "11.2.2", "...2.3")
        np.testing.assert_array_equal(postprocess(apart, core), _plane("33.2..", "33.222", "11.2.2", "...2.2"))
        np.testing.assert_array_equal(postprocess(apart, et), _plane("33.2..", "33.212", "11.2.2", "...2.1"))

    @given(
        hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 3)),
        st.sampled_from(sorted(POSTPROCESSING)),
    )
    def test_what_is_mended_once_is_mended(self, labels: npt.NDArray[np.uint8], name: str) -> None:
        kept = labels.copy()
        once = postprocess(labels, POSTPROCESSING[name])
        np.testing.assert_array_equal(labels, kept)
        np.testing.assert_array_equal(postprocess(once, POSTPROCESSING[name]), once)
        assert once.any() == labels.any()
        if name == "none":
            np.testing.assert_array_equal(once, labels)

    def test_an_unknown_profile_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="no postprocessing 'best': there are none, largest, islands"):
            named_postprocessing("best")
