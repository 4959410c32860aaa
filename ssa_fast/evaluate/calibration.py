"""Whether probabilities are true: of the voxels that are given 0.8 of a label, 80 % should have it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.page_facts import read_provenance
from ssa_fast.evaluate.scores import CaseScores
from ssa_fast.files import sha256
from ssa_fast.infer.record import map_path
from ssa_fast.labels import LABELS
from ssa_fast.metrics.overlap import TARGETS
from ssa_fast.volume.case import AFFINE_TOLERANCE_MM, errors_of_case, same_grid
from ssa_fast.volume.geometry import BoolArray, FloatArray, LabelArray, bounding_box
from ssa_fast.volume.nifti import Volume, read_labels

__all__ = [
    "BINS",
    "RULE",
    "Calibration",
    "Reliability",
    "calibrate",
    "calibrate_case",
    "has_probabilities",
    "reliability",
]

BINS = 10
"""Of probabilities from 0 to 1, equally wide; a bound belongs to the bin above it, 1 to the last."""

RULE = (
    "Of the voxels that were given such a probability of a target, the share that are it in the reference: calibrated\n"
    "is where both are equal. Counted in the box around all that reference or prediction label, over all cases "
    f"together.\nECE: their distance, mean over {BINS} bins by voxels; 0 is best. Of a region, probabilities add up."
)

_KIND = "probabilities"
_CLASSES = 1 + len(LABELS)
_SUM_TOLERANCE = 0.02  # four values in 255ths are off by 0.008 at most
_READ_ERRORS = (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError)


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Voxels by the probability that one target was given: an entry a bin, `BINS` of each. Sums add up over cases."""

    voxels: npt.NDArray[np.int64]
    true: npt.NDArray[np.int64]  # of them, in the reference
    sums: npt.NDArray[np.float64]  # of their probabilities

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(voxels=self.voxels + other.voxels, true=self.true + other.true, sums=self.sums + other.sums)

    @property
    def ece(self) -> float | None:
        """Expected calibration error, 0 to 1; None without voxels.

        The distance between mean probability and true share, mean over bins weighted by their voxels. For one target
        against all else, so a voxel counts at a low probability, too.
        Source: Naeini et al., AAAI 2015; one class at a time as Nixon et al., CVPR workshops 2019.
        """
        total = int(self.voxels.sum())
        return float(np.abs(self.sums - self.true).sum()) / total if total else None

    @property
    def curve(self) -> list[tuple[float, float] | None]:
        """Mean probability and true share of each bin; None where it is empty."""
        return [
            (float(total / count), float(hits / count)) if count else None
            for count, hits, total in zip(self.voxels, self.true, self.sums, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The probabilities of many cases; what is said of all is over the cases that have some."""

    cases: Mapping[str, Mapping[str, Reliability]]  # case -> target -> its voxels
    failures: Mapping[str, str]  # case -> why its probabilities cannot be judged, one line

    def pooled(self, names: Sequence[str] | None = None) -> dict[str, Reliability]:
        """Target -> the voxels of all cases, or of those `names` that have some; empty if there are none."""
        chosen = [found for name, found in self.cases.items() if names is None or name in names]
        return {target: _sum([found[target] for found in chosen]) for target in TARGETS} if chosen else {}


def reliability(probability: FloatArray, truth: BoolArray) -> Reliability:
    """The voxels of one target by bin: its probability from 0 to 1, and where the reference has it, of one shape."""
    values, hits = probability.ravel(), truth.ravel()
    places = np.minimum((values * BINS).astype(np.intp), BINS - 1)
    return Reliability(
        voxels=np.bincount(places, minlength=BINS),
        true=np.bincount(places[hits], minlength=BINS),
        sums=np.bincount(places, weights=values, minlength=BINS).astype(np.float64),
    )


def calibrate(cases: Sequence[CaseScores]) -> Calibration:
    """The maps `CASE-probabilities.nii.gz` beside the predictions against the references, a case at a time.

    A case that cannot be judged does not stop the others: it stands in `failures`, and the caller must say so.
    """
    found: dict[str, Mapping[str, Reliability]] = {}
    failures: dict[str, str] = {}
    for case in cases:
        try:
            found[case.name] = calibrate_case(case.name, case.reference, case.prediction)
        except CaseError as error:
            failures[case.name] = str(error)
    return Calibration(cases=found, failures=failures)


def has_probabilities(case: CaseScores) -> bool:
    """Whether a map of probabilities is beside the prediction."""
    return map_path(case.prediction.parent, case.name, _KIND).is_file()


def calibrate_case(name: str, reference: Path, prediction: Path) -> dict[str, Reliability]:
    """Target -> its voxels, by the probabilities beside a label map; those of a region add up, to 1 at most.

    They are counted in the box around all that reference or label map have: in a whole brain easy background would be
    nine tenths, and hide what is asked. Without any tumour there is no box, and no voxel. Memory: the map as it is
    stored (36 MB in 255ths, 143 MB in float32), and its box once more.
    Raises CaseError if there is no such map, it is none or on another grid, or a record beside it names another one.
    """
    path = map_path(prediction.parent, name, _KIND)
    with errors_of_case(name):
        labels, predicted = read_labels(reference), read_labels(prediction)
        same_grid(predicted, labels)
        if not path.is_file():
            raise CaseError(f"no {path.name} in {path.parent}: segment it with --probabilities")
        known = read_provenance(prediction, name)
        if not known.trouble and known.table("maps_sha256").get(_KIND) != sha256(path.read_bytes()):
            raise CaseError(f"{path} is not what its record was written with: segment it again with --probabilities")
        either = (labels.array != 0) | (predicted.array != 0)
        if not either.any():
            return {target: _sum([]) for target in TARGETS}
        box = bounding_box(either).slices
        shares = _read_box(path, labels, box)
    own = np.asarray(labels.array, dtype=np.uint8)[box]
    return {target: _of_target(shares, own, values) for target, values in TARGETS.items()}


def _of_target(shares: FloatArray, labels: LabelArray, values: Sequence[int]) -> Reliability:
    probability = shares[..., list(values)].sum(axis=-1).clip(0, 1)
    return reliability(probability, np.isin(labels, values))


def _sum(found: Sequence[Reliability]) -> Reliability:
    none = Reliability(voxels=np.zeros(BINS, np.int64), true=np.zeros(BINS, np.int64), sums=np.zeros(BINS))
    return sum(found, start=none)


def _read_box(path: Path, like: Volume, box: tuple[slice, ...]) -> FloatArray:
    """The box of a map of probabilities, (X, Y, Z, K)."""
    try:
        image: Any = nibabel.load(path)
        slope, inter = image.dataobj.slope, image.dataobj.inter
        stored = image.dataobj.get_unscaled() if image.shape == (*like.array.shape, _CLASSES) else None
    except _READ_ERRORS as error:
        raise CaseError(f"{path}: cannot be read ({' '.join(str(error).split())}): segment the case again") from error
    if stored is None or not np.allclose(image.affine, like.affine, rtol=0, atol=AFFINE_TOLERANCE_MM):
        raise CaseError(
            f"{path}: shape {image.shape}, wanted {(*like.array.shape, _CLASSES)}, on the grid of {like.path.name}"
        )
    shares = np.asarray(stored[box], dtype=np.float32) * np.float32(slope) + np.float32(inter)
    if not (shares >= 0).all() or np.abs(shares.sum(axis=-1) - 1).max() > _SUM_TOLERANCE:
        raise CaseError(f"{path}: values are no probabilities of {_CLASSES} labels, which add up to 1")
    return np.asarray(shares)
