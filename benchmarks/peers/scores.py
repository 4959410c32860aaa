"""What the segmentations of contestants are worth: against the reference, and against each other."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssa_fast.labels import REGIONS
from ssa_fast.metrics.overlap import overlaps
from ssa_fast.volume.case import CaseFiles, read_case
from ssa_fast.volume.geometry import BoolArray
from ssa_fast.volume.nifti import read_labels

__all__ = ["brain_of", "changes", "dice", "label_agreement", "mean_of"]

Dice = Mapping[str, float]  # by region


def dice(one: Path, other: Path) -> dict[str, float]:
    """Of each region between two files of labels on one grid; 1 where both have none of it."""
    found = overlaps(read_labels(one).array.astype(np.uint8), read_labels(other).array.astype(np.uint8))
    return {region: found[region].dice for region in REGIONS}


def brain_of(files: CaseFiles) -> BoolArray:
    """Where any modality of a case is not zero, in the axes of its files."""
    inside: BoolArray = np.logical_or.reduce([volume.array != 0 for volume in read_case(files).volumes])
    return inside


def label_agreement(one: Path, other: Path, brain: BoolArray) -> float:
    """Share of the brain's voxels with equal labels."""
    return float((read_labels(one).array == read_labels(other).array)[brain].mean())


def mean_of(scores: Sequence[Dice]) -> dict[str, float]:
    """The mean over cases, to five digits."""
    return {region: round(statistics.fmean(score[region] for score in scores), 5) for region in scores[0]}


def changes(ours: Dice, theirs: Dice) -> dict[str, float]:
    """Ours less theirs."""
    return {region: round(ours[region] - theirs[region], 5) for region in ours}
