"""Lesions scored one by one, as BraTS 2023 scores its SSA task."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssa_fast.metrics.components import box_around, components, grow
from ssa_fast.metrics.surface import Spacing, check_pair, surface_distances
from ssa_fast.volume.geometry import BoolArray, bounding_box

__all__ = ["GROWTH", "PENALTY_MM", "SMALLEST_MM3", "Lesion", "LesionScores", "lesion_scores"]

GROWTH = 3
"""Steps by which a reference lesion is grown: to join it with its neighbours, and to look for what was predicted."""

SMALLEST_MM3 = 50.0
"""Reference lesions of this volume or less are not scored."""

PENALTY_MM = 374.0
"""Stands for a distance that there is none of: about the diagonal of a BraTS volume, 240 x 240 x 155 mm."""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One lesion of the reference against all predicted parts that touch it, grown."""

    volume_mm3: float
    is_found: bool
    dice: float
    hd95_mm: float  # PENALTY_MM if it was missed


@dataclass(frozen=True, kw_only=True)
class LesionScores:
    """One target of one case: its scored lesions, and how many predicted parts touch no lesion at all.

    Each such part counts as a lesion with Dice 0 and HD95 `PENALTY_MM`. Nothing to count: Dice 1, HD95 0; so also where
    the reference has small lesions only and nothing was predicted elsewhere.
    """

    lesions: tuple[Lesion, ...]
    false_alarms: int

    @property
    def found(self) -> int:
        """Scored lesions of the reference that a predicted part touches."""
        return sum(lesion.is_found for lesion in self.lesions)

    @property
    def missed(self) -> int:
        """Scored lesions of the reference that none touches."""
        return len(self.lesions) - self.found

    @property
    def dice(self) -> float:
        """Mean Dice over lesions and false alarms, 0 to 1."""
        counted = len(self.lesions) + self.false_alarms
        return sum(lesion.dice for lesion in self.lesions) / counted if counted else 1.0

    @property
    def hd95_mm(self) -> float:
        """Mean HD95 over lesions and false alarms, 0 to `PENALTY_MM`."""
        counted = len(self.lesions) + self.false_alarms
        total = sum(lesion.hd95_mm for lesion in self.lesions) + self.false_alarms * PENALTY_MM
        return total / counted if counted else 0.0


def lesion_scores(reference: BoolArray, predicted: BoolArray, spacing_mm: Spacing) -> LesionScores:
    """The lesions of one target, (X, Y, Z), scored by the rules of BraTS 2023 for SSA.

    Parts of the reference that touch once grown by `GROWTH` are one lesion. Each lesion is compared with the union of
    the predicted parts (26 neighbours) that touch it, itself grown; one part may serve several lesions. Lesions of
    `SMALLEST_MM3` or less are not scored, but what touches them is no false alarm. Predicted parts count at any size.
    Raises ShapeError if the shapes differ, BackendUnavailable without scipy or connected-components-3d.
    Source: the challenge's script (Saluja, BraTS-2023-Metrics), whose numbers these are.
    """
    check_pair(reference, predicted)
    either = reference | predicted
    if not either.any():
        return LesionScores(lesions=(), false_alarms=0)
    box = bounding_box(either).slices  # two lesions that meet outside of it meet inside, too: growth fills blocks
    reference, predicted = reference[box], predicted[box]
    joined = np.where(reference, components(grow(reference, GROWTH)), 0)
    parts = components(predicted)
    voxel_mm3 = math.prod(spacing_mm)
    touched = np.zeros(int(parts.max()) + 1, dtype=bool)
    lesions = []
    for number in range(1, int(joined.max()) + 1):
        lesion = joined == number
        near = box_around(lesion, GROWTH).slices
        mine = np.zeros_like(touched)
        mine[parts[near][grow(lesion[near], GROWTH)]] = True
        mine[0] = False
        touched |= mine
        volume_mm3 = float(np.count_nonzero(lesion) * voxel_mm3)
        if volume_mm3 > SMALLEST_MM3:
            lesions.append(_scored(lesion, mine[parts], volume_mm3, spacing_mm))
    false_alarms = len(touched) - 1 - np.count_nonzero(touched)
    return LesionScores(lesions=tuple(lesions), false_alarms=int(false_alarms))


def _scored(lesion: BoolArray, found: BoolArray, volume_mm3: float, spacing_mm: Spacing) -> Lesion:
    sizes = int(np.count_nonzero(lesion)) + int(np.count_nonzero(found))
    hd95_mm = surface_distances(lesion, found, spacing_mm).hausdorff_mm()
    return Lesion(
        volume_mm3=volume_mm3,
        is_found=bool(found.any()),
        dice=2 * int(np.count_nonzero(lesion & found)) / sizes,
        hd95_mm=hd95_mm if math.isfinite(hd95_mm) else PENALTY_MM,
    )
