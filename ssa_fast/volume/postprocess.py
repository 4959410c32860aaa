"""From logits back to a label map on the grid of the input, and what may be mended on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ssa_fast.errors import ConfigError, NumericsError
from ssa_fast.labels import BACKGROUND, ED, ET, NCR, REGIONS
from ssa_fast.volume.case import Case
from ssa_fast.volume.components import components
from ssa_fast.volume.geometry import BoolArray, Box, FloatArray, LabelArray, bounding_box, to_orientation
from ssa_fast.volume.preprocess import Brain

__all__ = [
    "NAN_LOGITS",
    "POSTPROCESSING",
    "Postprocessing",
    "labels_from_logits",
    "named_postprocessing",
    "postprocess",
    "restore_labels",
    "restore_map",
]

NAN_LOGITS = "the network gave NaN logits: take --precision float32, or another backend"
"""What NumericsError says of them, wherever labels are made."""

_ML = 1000  # voxels of 1 mm


@dataclass(frozen=True, kw_only=True)
class Postprocessing:
    """What is mended in the labels of one case, in this order. Volumes in ml; 0 or False: nothing."""

    is_largest_alone: bool = False  # of the parts of the whole tumor (26 neighbors) only the largest stays
    least_part_ml: float = 0.0  # smaller parts go, but for the largest
    fills_holes: bool = False  # what the core encloses (6 neighbors) is NCR, what the whole tumor encloses ED
    least_core_part_ml: float = 0.0  # smaller parts of the core, but for its largest, are ED
    least_et_part_ml: float = 0.0  # smaller parts of the enhancing tumor, but for its largest, are NCR
    least_et_ml: float = 0.0  # a case with less enhancing tumor in all has none: it is NCR


POSTPROCESSING: Mapping[str, Postprocessing] = MappingProxyType(
    {
        "none": Postprocessing(),
        "largest": Postprocessing(is_largest_alone=True),
        "islands": Postprocessing(least_part_ml=0.1),
        "holes": Postprocessing(fills_holes=True),
        "small-et": Postprocessing(least_et_ml=0.2),
        "clean": Postprocessing(least_part_ml=0.1, fills_holes=True, least_et_ml=0.2),
        "lesions": Postprocessing(
            least_part_ml=0.3, least_core_part_ml=0.2, least_et_part_ml=0.1, fills_holes=True, least_et_ml=0.2
        ),
    }
)
"""Profiles by name. `lesions` is for scores by lesion, in which each speck is a false alarm. `small-et` is the rule of
nnU-Net's entries to BraTS (Isensee et al., 2018 and 2020)."""


def named_postprocessing(name: str) -> Postprocessing:
    """The profile of a name. Raises ConfigError if there is none."""
    if name not in POSTPROCESSING:
        raise ConfigError(f"no postprocessing '{name}': there are {', '.join(POSTPROCESSING)}")
    return POSTPROCESSING[name]


def postprocess(labels: LabelArray, profile: Postprocessing) -> LabelArray:
    """Labels (X, Y, Z) of voxels of 1 mm, mended: a new array, or `labels` where there is nothing to do."""
    if profile == Postprocessing() or not labels.any():
        return labels
    box = bounding_box(labels != BACKGROUND).slices  # no hole reaches beyond it
    mended: LabelArray = labels.copy()
    part = mended[box]
    if profile.is_largest_alone or profile.least_part_ml:
        least_ml = math.inf if profile.is_largest_alone else profile.least_part_ml
        part[_small_parts(part != BACKGROUND, least_ml)] = BACKGROUND
    if profile.fills_holes:
        part[_holes(part, REGIONS["TC"])] = NCR
        part[_holes(part, REGIONS["WT"])] = ED
    if profile.least_core_part_ml:
        part[_small_parts(np.isin(part, REGIONS["TC"]), profile.least_core_part_ml)] = ED
    if profile.least_et_part_ml:
        part[_small_parts(part == ET, profile.least_et_part_ml)] = NCR
    if 0 < np.count_nonzero(part == ET) < profile.least_et_ml * _ML:
        part[part == ET] = NCR
    return mended


def _small_parts(region: BoolArray, least_ml: float) -> BoolArray:
    """Where a region's parts (26 neighbors) lie that are smaller than `least_ml`, but for its largest."""
    found = components(region, neighbors=26)
    goes = found.voxels < least_ml * _ML
    if goes.size:
        goes[np.argmax(found.voxels)] = False
    return found.mask(goes)


def _holes(labels: LabelArray, region: Sequence[int]) -> BoolArray:
    """What is not of a region and is enclosed by it."""
    found = components(~np.isin(labels, region), neighbors=6)
    return found.mask(~found.touch_border)


def labels_from_logits(logits: FloatArray) -> LabelArray:
    """The label of the largest logit: (K, X, Y, Z) -> (X, Y, Z); the lowest label wins a tie.

    Raises NumericsError if a logit is NaN.
    Two running arrays instead of numpy's argmax over a strided axis: five times as fast at four labels.
    """
    labels: LabelArray = np.zeros(logits.shape[1:], dtype=np.uint8)
    best = logits[0].copy()
    for label, channel in enumerate(logits[1:], start=1):
        labels[channel > best] = label
        np.maximum(best, channel, out=best)
    if np.isnan(best).any():  # maximum carries it along
        raise NumericsError(NAN_LOGITS)
    return labels


def restore_labels(labels: LabelArray, inner: Box, brain: Brain, case: Case) -> LabelArray:
    """Labels of the padded box (X, Y, Z) put back: in the case's shape and axes, 0 outside the brain."""
    turned = np.zeros(brain.ras_shape, dtype=np.uint8)
    turned[brain.box.slices] = labels[inner.slices] * brain.foreground
    return np.asarray(to_orientation(turned, case.grid.affine), dtype=np.uint8)


def restore_map(values: FloatArray, inner: Box, brain: Brain, case: Case, outside: float) -> FloatArray:
    """A map of the padded box (X, Y, Z) put back as `restore_labels` does, and `outside` outside the brain."""
    turned: FloatArray = np.full(brain.ras_shape, outside, dtype=np.float32)
    turned[brain.box.slices] = np.where(brain.foreground, values[inner.slices], np.float32(outside))
    return np.asarray(to_orientation(turned, case.grid.affine), dtype=np.float32)
