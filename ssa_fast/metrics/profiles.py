"""What is scored, by name: profiles of targets and measures, and the measures themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ssa_fast.labels import BACKGROUND, LABEL_NAMES, REGIONS
from ssa_fast.metrics.instances import InstanceScores, instance_scores
from ssa_fast.metrics.lesion import PENALTY_MM, SMALLEST_MM3, LesionScores, lesion_scores
from ssa_fast.metrics.overlap import TARGETS, Overlap, confusion, overlap_of
from ssa_fast.metrics.surface import Spacing, SurfaceDistances, surface_distances
from ssa_fast.volume.geometry import BoolArray, LabelArray, bounding_box

__all__ = ["MEASURES", "OVERLAP", "PROFILES", "Measure", "Profile", "Scores", "Target", "score"]

Scores: TypeAlias = Mapping[str, Mapping[str, float]]  # target -> measure -> value

MEAN, WEIGHTED = "mean", "weighted"
_BACKGROUND = {"background": (BACKGROUND,)}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A way of scoring one case: for each target, every measure."""

    name: str
    about: str  # what the command line's help says
    rule: str  # what stands below the tables
    labels: Mapping[str, tuple[int, ...]]  # target -> its label values
    measures: tuple[str, ...]  # of MEASURES
    headline: tuple[str, ...] = ("dice",)  # of `measures`: what is quoted over cases
    averages: bool = False  # also over the targets: `mean`, and `weighted` by their voxels in the reference

    @property
    def targets(self) -> tuple[str, ...]:
        """What has scores, in order: the labels and regions, then the averages over them."""
        return (*self.labels, *((MEAN, WEIGHTED) if self.averages else ()))


class Target:
    """One set of labels in reference and prediction. What a measure needs is computed once, when it is asked for."""

    def __init__(self, masks: tuple[BoolArray, BoolArray], overlap: Overlap, spacing_mm: Spacing) -> None:
        self.overlap = overlap  # of the whole volume
        self._masks, self._spacing = masks, spacing_mm  # reference and prediction, with nothing of them cut off

    @cached_property
    def surfaces(self) -> SurfaceDistances:
        """The surfaces' distances. Raises what `surface_distances` does."""
        return surface_distances(*self._masks, self._spacing)

    @cached_property
    def lesions(self) -> LesionScores:
        """Lesions by the rules of BraTS 2023. Raises what `lesion_scores` does."""
        return lesion_scores(*self._masks, self._spacing)

    @cached_property
    def instances(self) -> InstanceScores:
        """Lesions by the rules of BraTS 2025. Raises what `instance_scores` does."""
        return instance_scores(*self._masks, self._spacing)

    def ml(self, voxels: int) -> float:
        """Millilitres of so many voxels."""
        return voxels * math.prod(self._spacing) / 1000


@dataclass(frozen=True)
class Measure:
    """A number of one target, with how it is shown."""

    heading: str
    decimals: int
    of: Callable[[Target], float]


def _mm(distance: float) -> float:
    """A distance that can be averaged: `PENALTY_MM` where one side is empty."""
    return distance if math.isfinite(distance) else PENALTY_MM


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "dice": Measure("Dice", 3, lambda target: target.overlap.dice),
        "precision": Measure("prec", 3, lambda target: target.overlap.precision),
        "recall": Measure("rec", 3, lambda target: target.overlap.recall),
        "f1": Measure("F1", 3, lambda target: target.overlap.f1),
        "iou": Measure("IoU", 3, lambda target: target.overlap.iou),
        "specificity": Measure("spec", 5, lambda target: target.overlap.specificity),
        "reference_ml": Measure("ref ml", 1, lambda target: target.ml(target.overlap.reference)),
        "predicted_ml": Measure("pred ml", 1, lambda target: target.ml(target.overlap.predicted)),
        "difference_ml": Measure(
            "diff ml", 1, lambda target: target.ml(target.overlap.predicted - target.overlap.reference)
        ),
        "hd95_mm": Measure("HD95", 2, lambda target: _mm(target.surfaces.hausdorff_mm())),
        "asd_mm": Measure("ASD", 2, lambda target: _mm(target.surfaces.average_mm())),
        "nsd_0.5mm": Measure("NSD0.5", 3, lambda target: target.surfaces.nsd(0.5)),
        "nsd_1mm": Measure("NSD1", 3, lambda target: target.surfaces.nsd(1)),
        "nsd_2mm": Measure("NSD2", 3, lambda target: target.surfaces.nsd(2)),
        "lesion_dice": Measure("L-Dice", 3, lambda target: target.lesions.dice),
        "lesion_hd95_mm": Measure("L-HD95", 2, lambda target: target.lesions.hd95_mm),
        "lesions_found": Measure("found", 0, lambda target: target.lesions.found),
        "lesions_missed": Measure("missed", 0, lambda target: target.lesions.missed),
        "false_alarms": Measure("false", 0, lambda target: target.lesions.false_alarms),
        "instance_dice": Measure("L-Dice", 3, lambda target: target.instances.dice),
        "instance_nsd": Measure("L-NSD", 3, lambda target: target.instances.nsd),
        "instance_hd95_mm": Measure("L-HD95", 2, lambda target: target.instances.hd95_mm),
        "instances_paired": Measure("paired", 0, lambda target: len(target.instances.pairs)),
        "instances_missed": Measure("missed", 0, lambda target: target.instances.missed),
        "instance_false_alarms": Measure("false", 0, lambda target: target.instances.false_alarms),
    }
)
"""Name -> measure. A distance to nothing is `lesion.PENALTY_MM`; two empty sets are 0 mm apart, and equal."""

_VOXELS = ("dice", "precision", "recall")
_VOLUMES = ("reference_ml", "predicted_ml")
_WHOLE = ("dice", "hd95_mm", "recall", "specificity")
_EMPTY = "Overlap of voxels over the whole volume: both empty 1, one of them empty 0."
_FAR = f"HD95 in mm over the whole surface: both empty 0, one of them empty {PENALTY_MM:g}."

OVERLAP = Profile(
    name="overlap",
    about="voxels of labels and regions",
    rule=_EMPTY,
    labels=TARGETS,
    measures=(*_VOXELS, *_VOLUMES),
)
"""What is scored unless another is asked for: it needs no extra."""

_OTHERS = (
    Profile(
        name="full",
        about="voxels, volumes and surfaces of everything",
        rule=f"{_EMPTY}\nHD95 and ASD (mean surface distance) in mm: both empty 0, one of them empty {PENALTY_MM:g}.\n"
        "NSD: share of both surfaces that lies within 0.5, 1, 2 mm: both empty 1, one of them empty 0.\n"
        "The background's surface is also the border of the image.",
        labels=MappingProxyType({**_BACKGROUND, **TARGETS}),
        measures=(
            *(*_VOXELS, "f1", "iou", *_VOLUMES, "difference_ml"),
            *("hd95_mm", "asd_mm", "nsd_0.5mm", "nsd_1mm", "nsd_2mm"),
        ),
    ),
    Profile(
        name="brats2023",
        about="lesion by lesion, Dice and HD95",
        rule=f"Lesions (L-) as BraTS 2023 scores SSA: missed ones and false alarms have Dice 0, HD95 {PENALTY_MM:g} mm,"
        f"\nthose of {SMALLEST_MM3:g} mm3 or less are left out.\n{_EMPTY}\n{_FAR} Here rec is sensitivity.",
        labels=REGIONS,
        measures=(
            *("lesion_dice", "lesion_hd95_mm", "lesions_found", "lesions_missed", "false_alarms"),
            *_WHOLE,
        ),
        headline=("lesion_dice", "lesion_hd95_mm"),
    ),
    Profile(
        name="brats2025",
        about="lesion by lesion, paired, Dice and NSD",
        rule="Lesions (L-) as BraTS 2025 pairs them, one to one: means over the pairs; missed and false only counted."
        f"\nNSD within 1 voxel of the border voxels. No pair: 0, and {PENALTY_MM:g} mm. No lesion: 1, and "
        f"0 mm.\n{_EMPTY}",
        labels=REGIONS,
        measures=(
            *("instance_dice", "instance_nsd", "instance_hd95_mm"),
            *("instances_paired", "instances_missed", "instance_false_alarms", "dice"),
        ),
        headline=("instance_dice", "instance_nsd"),
    ),
    Profile(
        name="legacy",
        about="whole regions, as BraTS up to 2022",
        rule=f"{_EMPTY}\n{_FAR} Here rec is sensitivity.",
        labels=REGIONS,
        measures=_WHOLE,
        headline=("dice", "hd95_mm"),
    ),
    Profile(
        name="plain",
        about="means over the four classes, background too",
        rule=f"{_EMPTY} F1 is Dice.\nmean: of the four classes. weighted: by their voxels in the reference.",
        labels=MappingProxyType({**_BACKGROUND, **{name: (label,) for label, name in LABEL_NAMES.items()}}),
        measures=(*_VOXELS, "f1", "iou"),
        averages=True,
    ),
)

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in (OVERLAP, *_OTHERS)})
"""Name -> profile. All but `overlap` and `plain` need the extra `evaluate`."""


def score(reference: LabelArray, predicted: LabelArray, spacing_mm: Spacing, profile: Profile) -> Scores:
    """Every measure of the profile for every one of its targets; label arrays (X, Y, Z) of one shape.

    Raises ShapeError if the shapes differ or a label is above 3, BackendUnavailable if the extra is needed and missing.
    """
    counts = confusion(reference, predicted)
    pair = _foreground(reference, predicted)
    scores: dict[str, dict[str, float]] = {}
    for name, labels in profile.labels.items():
        inside = np.isin(np.arange(256), labels)
        one, other = (reference, predicted) if BACKGROUND in labels else pair
        target = Target((inside[one], inside[other]), overlap_of(counts, labels), spacing_mm)
        scores[name] = {measure: float(MEASURES[measure].of(target)) for measure in profile.measures}
    if profile.averages:
        table = np.array([list(values.values()) for values in scores.values()])
        voxels = [overlap_of(counts, labels).reference for labels in profile.labels.values()]
        scores[MEAN] = _row(profile, table.mean(axis=0))
        scores[WEIGHTED] = _row(profile, np.average(table, axis=0, weights=voxels))
    return scores


def _foreground(reference: LabelArray, predicted: LabelArray) -> tuple[LabelArray, LabelArray]:
    """Both in the box of what either has labelled: a tenth of the voxels, of which no measure looks past the border."""
    either = (reference | predicted) != 0
    if not either.any():
        return reference, predicted
    box = bounding_box(either).slices
    return reference[box], predicted[box]


def _row(profile: Profile, values: npt.NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(profile.measures, values.tolist(), strict=True))
