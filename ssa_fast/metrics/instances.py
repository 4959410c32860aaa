"""Lesions of two segmentations paired one to one and scored, as BraTS 2025 does it with panoptica."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import BackendUnavailable
from ssa_fast.metrics.components import PartsArray, components
from ssa_fast.metrics.lesion import PENALTY_MM
from ssa_fast.metrics.surface import Spacing, check_pair, distances_to
from ssa_fast.volume.geometry import BoolArray, bounding_box

__all__ = ["Instance", "InstanceScores", "border", "instance_scores"]

_NO_PAIR = 1.0 + 1e-6  # costs more than any pair with a voxel in common
_LEAST_DICE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A lesion of the reference and the predicted one that it was paired with."""

    dice: float
    nsd: float
    hd95_mm: float


@dataclass(frozen=True, kw_only=True)
class InstanceScores:
    """One target of one case: its pairs, and what was paired with nothing.

    Scores are means over the pairs; what was missed or invented lowers `precision` and `recall`, not them. No lesion on
    either side: Dice and NSD 1, HD95 0. Lesions, but no pair: Dice and NSD 0, HD95 `lesion.PENALTY_MM`.
    """

    pairs: tuple[Instance, ...]
    missed: int
    false_alarms: int

    @property
    def dice(self) -> float:
        """Mean Dice of the pairs, 0 to 1."""
        return self._mean([pair.dice for pair in self.pairs], empty=1.0, unpaired=0.0)

    @property
    def nsd(self) -> float:
        """Mean normalized surface Dice of the pairs, 0 to 1."""
        return self._mean([pair.nsd for pair in self.pairs], empty=1.0, unpaired=0.0)

    @property
    def hd95_mm(self) -> float:
        """Mean HD95 of the pairs."""
        return self._mean([pair.hd95_mm for pair in self.pairs], empty=0.0, unpaired=PENALTY_MM)

    def _mean(self, values: list[float], *, empty: float, unpaired: float) -> float:
        if values:
            return sum(values) / len(values)
        return unpaired if self.missed or self.false_alarms else empty


def instance_scores(reference: BoolArray, predicted: BoolArray, spacing_mm: Spacing) -> InstanceScores:
    """The lesions of one target, (X, Y, Z), scored by the rules of BraTS 2025.

    Lesions are parts by 26 neighbours, of any size, paired one to one: of those that share a voxel, so that the sum of
    Dice is the largest. A surface is here the voxels with a face to the outside, each of weight 1. NSD is the mean of
    both sides' shares that lie within the shortest voxel edge, HD95 the percentile of both sides' distances together:
    neither is that of `surface`.
    Raises ShapeError if the shapes differ, BackendUnavailable without scipy or connected-components-3d.
    Source: panoptica (Kofler et al. 2023) as BraTS_evaluation sets it; without a pair, the challenge's platform.
    """
    check_pair(reference, predicted)
    either = reference | predicted
    if not either.any():
        return InstanceScores(pairs=(), missed=0, false_alarms=0)
    box = bounding_box(either).slices
    references, predictions = components(reference[box]), components(predicted[box])
    chosen = _paired(_dice_table(references, predictions))
    pairs = [_scored(references == one + 1, predictions == other + 1, dice, spacing_mm) for one, other, dice in chosen]
    missed, false_alarms = (int(parts.max()) - len(pairs) for parts in (references, predictions))
    return InstanceScores(pairs=tuple(pairs), missed=missed, false_alarms=false_alarms)


def border(mask: BoolArray) -> BoolArray:
    """The voxels of a (X, Y, Z) set that have a face to the outside, or to the border of the array."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + mask.shape[axis])
            inner &= padded[tuple(window)]
    return np.asarray(mask & ~inner)


def _dice_table(references: PartsArray, predictions: PartsArray) -> npt.NDArray[np.float64]:
    """Dice of every lesion of the one with every lesion of the other."""
    rows, columns = int(references.max()) + 1, int(predictions.max()) + 1
    joint = references.astype(np.int64) * columns + predictions
    counts = np.bincount(joint.ravel(), minlength=rows * columns).reshape(rows, columns)
    sizes = counts.sum(axis=1, keepdims=True)[1:] + counts.sum(axis=0, keepdims=True)[:, 1:]
    return np.asarray(2 * counts[1:, 1:] / sizes)


def _paired(dice: npt.NDArray[np.float64]) -> list[tuple[int, int, float]]:
    """Row, column and Dice of the pairs of largest Dice in sum."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise BackendUnavailable(f"pairs need 'scipy': pip install 'ssa-fast[evaluate]' ({error})") from error
    costs = np.where(dice >= _LEAST_DICE, 1 - dice, _NO_PAIR)
    rows, columns = linear_sum_assignment(costs)
    return [
        (int(row), int(column), float(dice[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if costs[row, column] < 1
    ]


def _scored(reference: BoolArray, predicted: BoolArray, dice: float, spacing_mm: Spacing) -> Instance:
    box = bounding_box(reference | predicted).slices
    one, other = border(reference[box]), border(predicted[box])
    there, back = distances_to(one, other, spacing_mm), distances_to(other, one, spacing_mm)
    tolerance = min(spacing_mm)
    return Instance(
        dice=dice,
        nsd=(float(np.mean(there <= tolerance)) + float(np.mean(back <= tolerance))) / 2,
        hd95_mm=float(np.percentile(np.concatenate([there, back]), 95)),
    )
