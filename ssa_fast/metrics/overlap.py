"""Scores that compare two sets of voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import ShapeError
from ssa_fast.labels import LABEL_NAMES, REGIONS
from ssa_fast.volume.geometry import LabelArray

__all__ = ["TARGETS", "Overlap", "confusion", "overlap_of", "overlaps"]

TARGETS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {**{name: (label,) for label, name in LABEL_NAMES.items()}, **REGIONS}
)
"""What is scored -> its label values: NCR ED ET WT TC. Label ET and region ET are the same set."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Voxels of one target: in both segmentations, in all of each, and in neither."""

    both: int
    reference: int
    predicted: int
    neither: int

    @property
    def dice(self) -> float:
        """2 both / (reference + predicted): 1 if both are empty, 0 if one is.

        Source: Dice, Ecology 1945; the rule for empty sets is that of BraTS.
        """
        total = self.reference + self.predicted
        return 2 * self.both / total if total else 1.0

    @property
    def precision(self) -> float:
        """Share of the predicted voxels that are right: 1 if both are empty, 0 if one is."""
        return self._share(self.predicted)

    @property
    def recall(self) -> float:
        """Share of the reference voxels that were found: 1 if both are empty, 0 if one is."""
        return self._share(self.reference)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall: of voxels that is Dice, by another name."""
        return self.dice

    @property
    def iou(self) -> float:
        """Voxels in both of those in either: 1 if both are empty, 0 if one is. Source: Jaccard 1912."""
        return self._share(self.reference + self.predicted - self.both)

    @property
    def specificity(self) -> float:
        """Share of the voxels outside the reference that were left out; 0 if there are none, as BraTS has it."""
        outside = self.neither + self.predicted - self.both
        return self.neither / outside if outside else 0.0

    def _share(self, whole: int) -> float:
        if not self.reference and not self.predicted:
            return 1.0
        return self.both / whole if whole else 0.0


def confusion(reference: LabelArray, predicted: LabelArray) -> npt.NDArray[np.int64]:
    """Voxels by label: row the reference's, column the prediction's; (4, 4).

    Raises ShapeError if the shapes differ or a label is above 3.
    """
    if reference.shape != predicted.shape:
        raise ShapeError(f"reference is {reference.shape}, prediction {predicted.shape}: they must share one grid")
    kinds = 1 + max(LABEL_NAMES)
    if reference.size and max(reference.max(), predicted.max()) >= kinds:
        raise ShapeError(f"labels go up to {max(reference.max(), predicted.max())}, wanted at most {kinds - 1}")
    pairs = reference * np.uint8(kinds) + predicted
    return np.bincount(pairs.ravel(order="K"), minlength=kinds**2).reshape(kinds, kinds)


def overlaps(reference: LabelArray, predicted: LabelArray) -> dict[str, Overlap]:
    """The overlap of every target in `TARGETS` between two label arrays of one shape.

    Raises ShapeError like `confusion`.
    """
    counts = confusion(reference, predicted)
    return {name: overlap_of(counts, labels) for name, labels in TARGETS.items()}


def overlap_of(counts: npt.NDArray[np.int64], labels: Sequence[int]) -> Overlap:
    """The overlap of one target, the union of `labels`, from the counts of `confusion`."""
    inside = np.array(labels)
    both, reference, predicted = counts[np.ix_(inside, inside)].sum(), counts[inside].sum(), counts[:, inside].sum()
    return Overlap(
        both=int(both),
        reference=int(reference),
        predicted=int(predicted),
        neither=int(counts.sum() - reference - predicted + both),
    )
