"""Whether a case lies outside what a network was trained on, by what `ssa-fast describe` kept of the training cases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ssa_fast.errors import ConfigError
from ssa_fast.labels import MODALITIES
from ssa_fast.prepare.describe import CaseFacts

__all__ = ["Range", "TrainingRanges", "read_ranges"]

Range: TypeAlias = tuple[float, float]  # least and most over the training cases

_TOLERANCE = 1e-3  # of an edge in mm, as where cases are read


@dataclass(frozen=True, kw_only=True)
class TrainingRanges:
    """The least and the most of the training cases, in the units of their files."""

    cases: int
    spacing_mm: Range  # over all three edges
    brain_ml: Range
    tumor_ml: Range | None  # WT of the references; None without any
    medians: Mapping[str, Range]  # modality -> of the intensity over the brain

    @property
    def rule(self) -> str:
        """What is called outside, in words."""
        return (
            f"Outside: below the least or above the most of the {self.cases} training cases. A sound case may lie "
            "outside, the sooner the fewer they are, and one inside may still be unlike them. Intensities are medians "
            "over the brain in the units of the files; the network sees them normalized."
        )

    def outside(self, facts: CaseFacts, predicted_ml: float) -> list[str]:
        """What of a case is outside, each in words with both numbers; `predicted_ml` is its segmented whole tumour."""
        found = [
            _said("voxel edge", edge, self.spacing_mm, "mm", _TOLERANCE)
            for edge in (min(facts.spacing_mm), max(facts.spacing_mm))
        ]
        found.append(_said("brain", facts.brain_ml, self.brain_ml, "ml"))
        if self.tumor_ml is not None:
            found.append(_said("predicted tumour", predicted_ml, self.tumor_ml, "ml"))
        for modality in MODALITIES:
            found.append(_said(f"{modality} median", facts.intensities[modality].median, self.medians[modality], ""))
        return list(dict.fromkeys(said for said in found if said))


def read_ranges(path: Path) -> TrainingRanges:
    """The ranges in a `description.json` of the training cases.

    Raises ConfigError if the file is none, or describes no case.
    """
    try:
        cases: Sequence[Mapping[str, Any]] = list(json.loads(path.read_text(encoding="utf-8"))["by_case"].values())
        tumors = [case["region_ml"]["WT"] for case in cases if case["region_ml"]]
        return TrainingRanges(
            cases=len(cases),
            spacing_mm=_range([edge for case in cases for edge in case["spacing_mm"]]),
            brain_ml=_range([case["brain_ml"] for case in cases]),
            tumor_ml=_range(tumors) if tumors else None,
            medians={
                modality: _range([case["intensities"][modality]["median"] for case in cases]) for modality in MODALITIES
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: no description of training cases ({type(error).__name__}: {error}): make one with "
            "'ssa-fast describe TRAINING_CASES --out FOLDER', and give FOLDER/description.json"
        ) from error


def _range(values: Sequence[float]) -> Range:
    return float(min(values)), float(max(values))


def _said(what: str, value: float, known: Range, unit: str, slack: float = 0.0) -> str:
    low, high = known
    if low - slack <= value <= high + slack:
        return ""
    return f"{what} {value:.4g} {unit}".rstrip() + f" (training {low:.4g} to {high:.4g})"
