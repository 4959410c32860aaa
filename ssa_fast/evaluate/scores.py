"""Predictions paired with their cases, and scored against the references."""

from __future__ import annotations

import logging
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import CaseError
from ssa_fast.labels import MAP_WORDS, REGIONS, SEGMENTATION_WORDS
from ssa_fast.metrics.overlap import confusion, overlap_of
from ssa_fast.metrics.profiles import OVERLAP, Profile, Scores, score
from ssa_fast.volume.case import CaseFiles, errors_of_case, same_grid
from ssa_fast.volume.geometry import spacing_mm
from ssa_fast.volume.nifti import Volume, is_nifti, read_labels, without_suffix

__all__ = [
    "CaseScores",
    "Evaluation",
    "find_predictions",
    "prediction_of",
    "score_case",
    "score_cases",
    "score_volumes",
    "voxel_ml",
]

_MAP_ENDING = re.compile(rf"[-_. ](?:{'|'.join(MAP_WORDS)})$", re.IGNORECASE)
_SEGMENTATION_ENDING = re.compile(rf"[-_. ](?:{'|'.join(SEGMENTATION_WORDS)})$", re.IGNORECASE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CaseScores:
    """One prediction against its reference."""

    name: str
    reference: Path
    prediction: Path
    tumor_ml: float  # of the reference, all labels together
    confusion: npt.NDArray[np.int64]  # (4, 4) voxels: row the reference's label, column the prediction's
    scores: Scores

    def value(self, measure: str, target: str) -> float:
        """A measure of a target, both of the profile that was asked for."""
        return self.scores[target][measure]

    @property
    def mean_dice(self) -> float:
        """Over WT, TC and ET, whatever the profile measured: what cases are sorted by."""
        return sum(overlap_of(self.confusion, labels).dice for labels in REGIONS.values()) / len(REGIONS)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of many cases. The statistics are over the cases scored: look at `failures` before quoting them."""

    profile: Profile
    cases: tuple[CaseScores, ...]
    failures: Mapping[str, str]  # case -> why it could not be scored, one line
    unmatched: tuple[Path, ...]  # predictions that belong to no case given

    def mean(self, measure: str, target: str) -> float:
        """Mean over the cases scored. Raises CaseError if there are none."""
        return statistics.fmean(self._values(measure, target))

    def median(self, measure: str, target: str) -> float:
        """Median over the cases scored. Raises CaseError if there are none."""
        return statistics.median(self._values(measure, target))

    def _values(self, measure: str, target: str) -> list[float]:
        if not self.cases:
            raise CaseError("no case was scored, so there is no mean or median: mend the cases that failed first")
        return [case.value(measure, target) for case in self.cases]


def find_predictions(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Case name -> its label maps: `CASE.nii.gz` or `CASE-seg.nii.gz` (`.nii` too), in the folder or in `CASE/`.

    Two files of one case are a fact here and an error when that case is scored.
    Raises CaseError if the folder is none, or holds no such file.
    """
    if not folder.is_dir():
        raise CaseError(f"{folder}: no such folder: wanted the folder of predictions, with files like CASE.nii.gz")
    found: dict[str, tuple[Path, ...]] = {}
    for entry in sorted(folder.iterdir()):
        for path in sorted(entry.iterdir()) if entry.is_dir() else [entry]:
            if not is_nifti(path) or path.name.startswith("."):
                continue
            if _MAP_ENDING.search(without_suffix(path)):  # infer writes them beside its label maps
                continue
            name = _SEGMENTATION_ENDING.sub("", without_suffix(path))
            if path is entry or name == entry.name:  # CASE/CASE-t1n.nii.gz is an image
                found[name] = (*found.get(name, ()), path)
    if not found:
        raise CaseError(f"{folder}: no prediction found: wanted files like CASE.nii.gz or CASE-seg.nii.gz")
    return found


def prediction_of(name: str, found: Mapping[str, tuple[Path, ...]], folder: Path) -> Path:
    """The one label map of a case, of those that `find_predictions` found in `folder`.

    Raises CaseError if there is none or more than one.
    """
    paths = found.get(name, ())
    if not paths:
        raise CaseError(f"case {name}: no prediction in {folder}: segment the case, into {name}.nii.gz")
    if len(paths) > 1:
        names = " and ".join(str(path.relative_to(folder)) for path in paths)
        raise CaseError(f"case {name}: {len(paths)} predictions ({names}) in {folder}: keep one")
    return paths[0]


def score_cases(predictions: Path, cases: Sequence[CaseFiles], profile: Profile = OVERLAP) -> Evaluation:
    """Every case scored against its prediction in the folder `predictions`, by the profile's measures.

    A case that cannot be scored does not stop the others: it stands in `failures`, and the caller must
    say so. A prediction without a case stands in `unmatched` and is logged as a warning.
    Raises CaseError like `find_predictions`, BackendUnavailable if the profile needs an extra that is missing.
    """
    found = find_predictions(predictions)
    scored: list[CaseScores] = []
    failures: dict[str, str] = {}
    for files in cases:
        try:
            prediction = prediction_of(files.name, found, predictions)
            scored.append(score_case(files, prediction, profile))
        except CaseError as error:
            failures[files.name] = str(error)
    known = {files.name for files in cases}
    unmatched = tuple(path for name, paths in found.items() if name not in known for path in paths)
    if unmatched:
        _log.warning(
            "%s: %d of its predictions have no case among those given and are not scored, such as %s",
            *(predictions, len(unmatched), unmatched[0].name),
        )
    return Evaluation(profile=profile, cases=tuple(scored), failures=failures, unmatched=unmatched)


def score_case(files: CaseFiles, prediction: Path, profile: Profile = OVERLAP) -> CaseScores:
    """The scores of the label map in `prediction` against the case's reference; its images are not read.

    Raises CaseError if the case has no reference, a file cannot be read, or the two are on different grids.
    """
    with errors_of_case(files.name):
        return score_volumes(files.name, read_labels(files.one("seg")), read_labels(prediction), profile)


def score_volumes(name: str, reference: Volume, prediction: Volume, profile: Profile = OVERLAP) -> CaseScores:
    """The scores of one label volume against another, both in the axes of their files.

    Raises CaseError if they are on different grids.
    """
    same_grid(prediction, reference)
    labels, predicted = (np.asarray(volume.array, dtype=np.uint8) for volume in (reference, prediction))
    return CaseScores(
        name=name,
        reference=reference.path,
        prediction=prediction.path,
        tumor_ml=np.count_nonzero(labels) * voxel_ml(reference),
        confusion=confusion(labels, predicted),
        scores=score(labels, predicted, spacing_mm(reference.affine), profile),
    )


def voxel_ml(volume: Volume) -> float:
    """Millilitres in one voxel: 0.001 for 1 mm."""
    return float(abs(np.linalg.det(volume.affine[:3, :3]))) / 1000
