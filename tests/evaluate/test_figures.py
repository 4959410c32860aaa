from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.figures import draw_overlay, overlay_figure
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import CaseFiles, find_cases
from ssa_fast.volume.geometry import to_orientation
from tests.cases import ORIENTATIONS, SHAPE, brain_values, tumor_labels, turned_affine, write_case, write_nifti

NAME = "BraTS-SSA-00001-000"
MARGIN = 8  # voxels around the brain in the picture
ED_FILL = to_rgba("#56B4E9")[:3]


@pytest.fixture
def files(tmp_path: Path) -> CaseFiles:
    write_case(tmp_path / "cases", NAME)
    return find_cases([tmp_path / "cases"])[0]


@pytest.fixture
def prediction(tmp_path: Path) -> Path:
    return write_nifti(tmp_path / "predictions" / f"{NAME}.nii.gz", np.roll(tumor_labels(), 1, axis=0))


def words(figure: Figure) -> str:
    """Everything that the figure says."""
    texts = [*figure.texts, *(text for axes in figure.axes for text in (*axes.texts, axes.title))]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    return "\n".join(text.get_text() for text in texts)


def panel(figure: Figure, row: str, modality: str) -> Any:
    return next(axes for axes in figure.axes if axes.get_label() == f"{row} {modality}")


def pixels(figure: Figure, row: str, modality: str, layer: int = 0) -> npt.NDArray[np.float64]:
    return np.asarray(panel(figure, row, modality).images[layer].get_array())


def test_a_row_of_images_then_reference_then_prediction_in_the_order_of_the_modalities(
    files: CaseFiles, prediction: Path
) -> None:
    figure = overlay_figure(files, prediction)
    expected = [f"{row} {modality}" for row in ("images", "reference", "prediction") for modality in MODALITIES]
    assert [axes.get_label() for axes in figure.axes] == expected
    tops = [panel(figure, row, "t1n").get_position().y1 for row in ("images", "reference", "prediction")]
    assert tops == sorted(tops, reverse=True)
    lefts = [panel(figure, "images", modality).get_position().x0 for modality in MODALITIES]
    assert lefts == sorted(lefts)


def test_the_words_name_case_slice_scores_and_volumes(files: CaseFiles, prediction: Path) -> None:
    said = words(overlay_figure(files, prediction))
    assert NAME in said
    # the tumour spans z = 4 to 10, equally in each slice; slices are counted from one
    assert "axial slice 8 of 18, counted from below: most tumour in the reference" in said
    # moved by one voxel of seven (WT), of five (TC): 2 * 6/7 / 2 and 2 * 4/5 / 2
    dice = next(line for line in said.splitlines() if line.startswith("Dice"))
    assert dice.split()[1:3] == ["0.857", "0.800"]
    assert "reference, ml     0.3     0.1     0.1" in said
    assert all(f"({modality})" in said for modality in MODALITIES)
    for label in ("NCR  necrotic core", "ED  oedema", "ET  enhancing tumour"):
        assert label in said


@pytest.mark.parametrize("axes", ORIENTATIONS[1::7])
def test_every_orientation_of_a_file_gives_the_same_picture(tmp_path: Path, axes: str) -> None:
    pictures = []
    for number, turned in enumerate((turned_affine("RAS"), turned_affine(axes))):
        folder = tmp_path / str(number) / NAME
        for seed, modality in enumerate(MODALITIES):
            values = to_orientation(brain_values(seed=seed), turned).astype(np.float32)
            write_nifti(folder / f"{NAME}-{modality}.nii.gz", values, turned)
        reference = to_orientation(tumor_labels(), turned)
        prediction = write_nifti(folder / f"{NAME}-seg.nii.gz", np.asarray(reference), turned)
        pictures.append(overlay_figure(find_cases([folder])[0], prediction))
    for row, layer in (("images", 0), ("reference", 1), ("prediction", 1)):
        first, second = (pixels(picture, row, "t1c", layer) for picture in pictures)
        np.testing.assert_allclose(first, second)


def test_labels_lie_over_their_own_voxels_with_the_right_side_left(files: CaseFiles, tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[18, 14, 9] = 2  # right of the middle (12), anterior of it (10)
    figure = overlay_figure(files, write_nifti(tmp_path / "p.nii.gz", labels))
    fill = pixels(figure, "prediction", "t2f", 1)
    # the reference's slice is shown, not the prediction's
    assert not fill.any()
    files.one("seg").unlink()
    bare = find_cases([files.folder])[0]
    figure = overlay_figure(bare, write_nifti(tmp_path / "p.nii.gz", labels))
    fill = pixels(figure, "prediction", "t2f", 1)
    ((row, column),) = np.argwhere(fill[..., 3] > 0)
    assert row < fill.shape[0] / 2  # anterior is up
    assert column < fill.shape[1] / 2  # the patient's right is on the left
    assert tuple(fill[row, column, :3]) == pytest.approx(ED_FILL)
    brain = brain_values()[:, :, 9] != 0
    right, anterior = np.flatnonzero(brain.any(axis=1)).max(), np.flatnonzero(brain.any(axis=0)).max()
    assert (row, column) == (anterior - 14 + MARGIN, right - 18 + MARGIN)


def test_images_are_windowed_by_brain_percentiles_with_black_around_a_negative_brain(
    tmp_path: Path, prediction: Path
) -> None:
    write_case(tmp_path, NAME)
    negative = brain_values() - 10_000 * (brain_values() != 0)
    write_nifti(tmp_path / NAME / f"{NAME}-t2w.nii.gz", negative.astype(np.float32))
    figure = overlay_figure(find_cases([tmp_path / NAME])[0], prediction)
    shown = pixels(figure, "images", "t2w")
    assert shown.min() == 0
    assert 0.9 < shown.max() <= 1
    assert (shown[:MARGIN] == 0).all()  # the background, although 0 is above every voxel of the brain
    assert 0.2 < np.median(shown[shown > 0]) < 0.8


def test_without_a_reference_there_is_no_row_for_it_and_no_dice(files: CaseFiles, prediction: Path) -> None:
    bare = dataclasses.replace(files, found={kind: paths for kind, paths in files.found.items() if kind != "seg"})
    figure = overlay_figure(bare, prediction)
    assert len(figure.axes) == 8
    said = words(figure)
    assert "Dice" not in said
    assert "most tumour in the prediction" in said
    assert "predicted, ml     0.3     0.1     0.1" in said
    assert "reference" not in said


def test_an_empty_reference_lets_the_prediction_choose_the_slice(files: CaseFiles, tmp_path: Path) -> None:
    write_nifti(files.one("seg"), np.zeros(SHAPE, dtype=np.uint8))
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[10:13, 10, 12] = 1
    said = words(overlay_figure(files, write_nifti(tmp_path / "p.nii.gz", labels)))
    assert "axial slice 13 of 18, counted from below: most tumour in the prediction" in said
    assert said.count("no tumour in this slice") == 4  # the reference's row


def test_two_empty_segmentations_show_the_middle_of_the_brain(files: CaseFiles, tmp_path: Path) -> None:
    empty = np.zeros(SHAPE, dtype=np.uint8)
    write_nifti(files.one("seg"), empty)
    said = words(overlay_figure(files, write_nifti(tmp_path / "p.nii.gz", empty)))
    assert "the middle of the brain, for there is no tumour" in said
    assert said.count("no tumour in this slice") == 8
    assert "Dice            1.000   1.000   1.000" in said


def test_a_prediction_outside_the_brain_is_in_the_picture(files: CaseFiles, tmp_path: Path) -> None:
    labels = tumor_labels()
    labels[0, 0, 7] = 3  # the corner of the volume, in the slice that is shown
    figure = overlay_figure(files, write_nifti(tmp_path / "p.nii.gz", labels))
    fill = pixels(figure, "prediction", "t1n", 1)
    assert fill[-1 - MARGIN, -1 - MARGIN, 3] > 0


def test_a_prediction_on_another_grid_is_refused_naming_case_and_file(files: CaseFiles, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "p.nii.gz", tumor_labels()[:, :, 1:])
    with pytest.raises(CaseError, match=rf"case {NAME}: .*p\.nii\.gz: shape"):
        overlay_figure(files, path)


def test_two_references_are_refused_naming_the_case_once(files: CaseFiles, prediction: Path) -> None:
    shutil.copy(files.one("seg"), files.folder / f"{NAME}_seg.nii.gz")
    with pytest.raises(CaseError, match=rf"^case {NAME}: seg is there 2 times"):
        overlay_figure(find_cases([files.folder])[0], prediction)


def test_a_name_with_dollars_is_written_as_it_is(files: CaseFiles, prediction: Path, tmp_path: Path) -> None:
    odd = dataclasses.replace(files, name="case $x^$")
    draw_overlay(odd, prediction, tmp_path / "odd.png")  # would fail as mathematics


def test_the_png_is_whole_not_blank_and_equal_for_equal_files(
    files: CaseFiles, prediction: Path, tmp_path: Path
) -> None:
    out = tmp_path / "figures" / f"{NAME}.png"
    assert draw_overlay(files, prediction, out) == out
    again = draw_overlay(files, prediction, tmp_path / "again.png")
    assert out.read_bytes() == again.read_bytes()
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    picture = imread(out)[..., :3]
    assert picture.shape[1] == 1430
    panels = picture[150:-60]  # without the legend, whose patches have the same colours
    for color in ("#56B4E9", "#D55E00", "#F0E442"):
        assert (np.abs(panels - to_rgba(color)[:3]).max(axis=2) < 0.1).sum() > 100, color
    assert tuple(picture[0, 0]) == (0, 0, 0)


def test_a_whole_case_is_drawn(whole_case: Path, tmp_path: Path) -> None:
    [files] = find_cases([whole_case])
    image = nibabel.load(files.one("seg"))
    moved = np.roll(np.asarray(image.dataobj).astype(np.uint8), 3, axis=1)
    prediction = write_nifti(tmp_path / "p.nii.gz", moved, image.affine)
    figure = overlay_figure(files, prediction)
    shown = pixels(figure, "images", "t2f")
    assert 100 < shown.shape[1] < shown.shape[0] < 200  # cropped to the brain: longer than wide
    assert len(panel(figure, "prediction", "t2f").collections) > len(panel(figure, "reference", "t2f").collections)
