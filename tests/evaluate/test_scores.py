from __future__ import annotations

import logging
import shutil
import statistics
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.scores import find_predictions, score_case, score_cases
from ssa_fast.labels import MAP_WORDS
from ssa_fast.metrics.overlap import TARGETS
from ssa_fast.metrics.profiles import PROFILES
from ssa_fast.volume.case import CaseFiles, find_cases
from tests.cases import SHAPE, tumor_labels, turned_affine, write_case, write_nifti

MEASURES = ("dice", "precision", "recall")
ONE, TWO, THREE = "BraTS-SSA-00001-000", "BraTS-SSA-00002-000", "BraTS-SSA-00003-000"


@pytest.fixture
def cases(tmp_path: Path) -> list[CaseFiles]:
    for name in (ONE, TWO, THREE):
        write_case(tmp_path / "cases", name)
    return find_cases([tmp_path / "cases"])


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Perfect for the first case, empty for the second, without enhancement for the third."""
    labels = tumor_labels()
    for name, predicted in ((ONE, labels), (TWO, labels * 0), (THREE, np.where(labels == 3, 1, labels))):
        write_nifti(tmp_path / "predictions" / f"{name}.nii.gz", predicted.astype(np.uint8))
    return tmp_path / "predictions"


def test_every_case_is_scored_against_its_own_prediction(predictions: Path, cases: list[CaseFiles]) -> None:
    evaluation = score_cases(predictions, cases)
    assert [case.name for case in evaluation.cases] == [ONE, TWO, THREE]
    assert not evaluation.failures
    assert not evaluation.unmatched
    perfect, empty, no_enhancement = evaluation.cases
    for target in TARGETS:
        assert [perfect.value(measure, target) for measure in MEASURES] == [1, 1, 1]
        assert [empty.value(measure, target) for measure in MEASURES] == [0, 0, 0]
    assert no_enhancement.value("dice", "TC") == 1
    assert no_enhancement.value("recall", "ET") == 0
    # 27 voxels of necrosis were found, and 98 of enhancement called necrosis
    assert no_enhancement.value("precision", "NCR") == pytest.approx(27 / 125)
    assert no_enhancement.value("dice", "NCR") == pytest.approx(2 * 27 / (27 + 125))


def test_mean_and_median_are_over_cases(predictions: Path, cases: list[CaseFiles]) -> None:
    evaluation = score_cases(predictions, cases)
    dice = [1, 0, 2 * 27 / (27 + 125)]
    assert evaluation.mean("dice", "NCR") == pytest.approx(statistics.fmean(dice))
    assert evaluation.median("dice", "NCR") == pytest.approx(statistics.median(dice))
    assert evaluation.median("recall", "WT") == 1


def test_volumes_are_in_millilitres_of_the_files_own_voxels(tmp_path: Path) -> None:
    affine = np.diag([2.0, 1.0, 1.0, 1.0])  # 2 mm3 a voxel: scoring needs no images, so no 1 mm
    write_case(tmp_path, ONE, affine=affine)
    labels = tumor_labels()
    prediction = write_nifti(tmp_path / "p.nii.gz", np.where(labels == 2, 0, labels).astype(np.uint8), affine)
    scores = score_case(find_cases([tmp_path / ONE])[0], prediction)
    assert scores.value("reference_ml", "WT") == pytest.approx(343 * 2 / 1000)
    assert scores.value("predicted_ml", "WT") == pytest.approx(125 * 2 / 1000)


def test_labels_of_the_older_releases_score_as_enhancing_tumour(tmp_path: Path) -> None:
    write_case(tmp_path, ONE)
    labels = tumor_labels()
    old_style = write_nifti(tmp_path / "p.nii.gz", np.where(labels == 3, 4, labels).astype(np.float32))
    assert score_case(find_cases([tmp_path / ONE])[0], old_style).value("dice", "ET") == 1


@pytest.mark.parametrize(
    "name",
    [
        f"{ONE}.nii.gz",
        f"{ONE}.nii",
        f"{ONE}-seg.nii.gz",
        f"{ONE}-seg.nii",
        f"{ONE}_seg.nii.gz",
        f"{ONE}/{ONE}-seg.nii.gz",
    ],
)
def test_a_prediction_is_found_by_each_of_its_names(tmp_path: Path, name: str) -> None:
    path = write_nifti(tmp_path / name, tumor_labels())
    assert find_predictions(tmp_path) == {ONE: (path,)}


def test_a_folder_of_cases_scores_one_against_itself_and_its_images_are_no_predictions(cases: list[CaseFiles]) -> None:
    evaluation = score_cases(cases[0].folder.parent, cases)
    assert not evaluation.failures
    assert not evaluation.unmatched
    assert evaluation.mean("dice", "WT") == 1


def test_a_case_without_prediction_is_a_failure_and_the_others_are_scored(
    predictions: Path, cases: list[CaseFiles]
) -> None:
    (predictions / f"{TWO}.nii.gz").unlink()
    evaluation = score_cases(predictions, cases)
    assert [case.name for case in evaluation.cases] == [ONE, THREE]
    assert evaluation.failures == {
        TWO: f"case {TWO}: no prediction in {predictions}: segment the case, into {TWO}.nii.gz"
    }
    assert evaluation.median("dice", "WT") == 1  # not pulled down by a zero that nobody measured


def test_a_case_without_reference_is_a_failure(predictions: Path, cases: list[CaseFiles]) -> None:
    cases[0].one("seg").unlink()
    evaluation = score_cases(predictions, find_cases([cases[0].folder.parent]))
    assert [case.name for case in evaluation.cases] == [TWO, THREE]
    assert list(evaluation.failures) == [ONE]
    assert f"case {ONE}: no seg in " in evaluation.failures[ONE]


def test_two_predictions_of_a_case_are_a_failure_that_names_both(predictions: Path, cases: list[CaseFiles]) -> None:
    shutil.copy(predictions / f"{ONE}.nii.gz", predictions / f"{ONE}-seg.nii.gz")
    evaluation = score_cases(predictions, cases)
    assert f"2 predictions ({ONE}-seg.nii.gz and {ONE}.nii.gz)" in evaluation.failures[ONE]


@pytest.mark.parametrize("word", MAP_WORDS)
def test_maps_beside_predictions_are_passed_over(word: str, predictions: Path, cases: list[CaseFiles]) -> None:
    write_nifti(predictions / f"{ONE}-{word}.nii.gz", np.full(SHAPE, 0.5, dtype=np.float32))
    evaluation = score_cases(predictions, cases)
    assert len(evaluation.cases) == 3
    assert not evaluation.unmatched


def test_a_prediction_without_a_case_is_named_and_warned_of(
    predictions: Path, cases: list[CaseFiles], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        evaluation = score_cases(predictions, cases[:2])
    stray = predictions / f"{THREE}.nii.gz"
    assert evaluation.unmatched == (stray,)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert stray.name in caplog.text
    assert len(evaluation.cases) == 2


def shifted(labels: npt.NDArray[np.uint8], path: Path) -> None:
    write_nifti(path, labels, turned_affine("RAS", (0, 0, 2)))


def cut(labels: npt.NDArray[np.uint8], path: Path) -> None:
    write_nifti(path, labels[:, :, 1:])


def truncated(labels: npt.NDArray[np.uint8], path: Path) -> None:
    write_nifti(path, labels)
    path.write_bytes(path.read_bytes()[:-20])


def continuous(labels: npt.NDArray[np.uint8], path: Path) -> None:
    write_nifti(path, (labels * 0.3).astype(np.float32))


@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (shifted, "affine differs by 2 mm"),
        (cut, "shape (24, 20, 17) differs from (24, 20, 18)"),
        (truncated, "cut off"),
        (continuous, "label values are 0, 0.3, 0.6, 0.9"),
    ],
)
def test_a_prediction_that_cannot_be_compared_is_one_line_naming_case_and_file(
    predictions: Path, cases: list[CaseFiles], spoil: object, seen: str
) -> None:
    assert callable(spoil)
    path = predictions / f"{ONE}.nii.gz"
    spoil(tumor_labels(), path)
    evaluation = score_cases(predictions, cases)
    assert [case.name for case in evaluation.cases] == [TWO, THREE]
    message = evaluation.failures[ONE]
    assert message.startswith(f"case {ONE}: {path}")
    assert seen in message
    assert "\n" not in message


def test_a_folder_that_is_absent_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no such folder"):
        find_predictions(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no NIfTI file")
    with pytest.raises(CaseError, match="no prediction found"):
        find_predictions(tmp_path)


def test_no_case_scored_has_no_mean(predictions: Path, cases: list[CaseFiles]) -> None:
    for path in predictions.iterdir():
        path.rename(path.with_name(f"other-{path.name}"))
    evaluation = score_cases(predictions, cases)
    assert len(evaluation.failures) == len(evaluation.unmatched) == 3
    with pytest.raises(CaseError, match="no case was scored"):
        evaluation.mean("dice", "WT")


def test_a_whole_reference_moved_by_two_voxels_scores_as_counted_by_hand(whole_case: Path, tmp_path: Path) -> None:
    [files] = find_cases([whole_case])
    image = nibabel.load(files.one("seg"))
    labels = np.asarray(image.dataobj).astype(np.uint8)
    moved = np.roll(labels, 2, axis=0)
    prediction = write_nifti(tmp_path / f"{files.name}.nii.gz", moved, image.affine)
    a, b = labels > 0, moved > 0
    scores = score_case(files, prediction)
    assert scores.value("dice", "WT") == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert scores.value("reference_ml", "WT") == pytest.approx(a.sum() / 1000)


def test_a_profile_is_scored_from_the_files_with_their_own_spacing(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    write_case(tmp_path, ONE, affine=affine)
    labels = tumor_labels()
    prediction = write_nifti(tmp_path / "p.nii.gz", np.roll(labels, 1, axis=0), affine)
    scores = score_case(find_cases([tmp_path / ONE])[0], prediction, PROFILES["legacy"])
    assert list(scores.scores) == ["WT", "TC", "ET"]
    assert scores.value("hd95_mm", "WT") == 2.0  # one voxel
    assert scores.confusion.sum() == labels.size
    assert scores.confusion[0, 2] == np.count_nonzero((labels == 0) & (np.roll(labels, 1, axis=0) == 2))
