"""Whether a case lies outside what a network was trained on, by what `ssa-fast describe` kept of the training cases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ssa_fast.errors import CaseError, ConfigError
from ssa_fast.files import sha256
from ssa_fast.labels import MODALITIES
from ssa_fast.prepare.describe import CaseFacts, describe_case
from ssa_fast.pretrained import bundle_path, shipped_bundles
from ssa_fast.volume.case import CaseFiles

__all__ = ["RANGES_FILE", "Range", "TrainingRanges", "outside_of", "read_ranges", "shipped_ranges"]

RANGES_FILE = "ranges.json"
"""What `ssa-fast describe --ranges` writes: least and most, each of some case, without their names."""

_SCHEMA, _SCHEMA_VERSION = "ssa-fast/ranges", 1

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

    def to_json(self, version: str) -> dict[str, Any]:
        """Plain values (JSON types), that `read_ranges` reads again; `version` is that of ssa-fast."""
        return {"schema": _SCHEMA, "schema_version": _SCHEMA_VERSION, "ssa_fast": version, **asdict(self)}

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
            found.append(_said("predicted tumour", round(predicted_ml, 6), self.tumor_ml, "ml"))
        for modality in MODALITIES:
            found.append(_said(f"{modality} median", facts.intensities[modality].median, self.medians[modality], ""))
        return list(dict.fromkeys(said for said in found if said))


def outside_of(files: CaseFiles, predicted_ml: float, ranges: TrainingRanges) -> list[str]:
    """What of a case is outside, by its images and its segmented whole tumour.

    Raises CaseError if it cannot be described.
    """
    described = describe_case(files)
    if isinstance(described, list):
        raise CaseError(f"case {files.name}: {described[0].file} {described[0].seen}")
    return ranges.outside(described[0], predicted_ml)


def shipped_ranges(bundle_sha256: str) -> TrainingRanges | None:
    """The ranges of the training cases of a shipped bundle, known by its fingerprint; None for any other."""
    for name in shipped_bundles():
        bundle = bundle_path(name)
        path = bundle.with_name(f"{name}-training.json")
        if path.is_file() and sha256(bundle.read_bytes()) == bundle_sha256:
            return read_ranges(path)
    return None


def read_ranges(path: Path) -> TrainingRanges:
    """The ranges in a `description.json` of the training cases, or in a `RANGES_FILE`.

    Raises ConfigError if the file is neither, or describes no case.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _kept_ranges(content) if content.get("schema") == _SCHEMA else _described_ranges(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: no description of training cases ({type(error).__name__}: {error}): make one with "
            "'ssa-fast describe TRAINING_CASES --out FOLDER', and give FOLDER/description.json"
        ) from error


def _kept_ranges(content: Mapping[str, Any]) -> TrainingRanges:
    tumor = content["tumor_ml"]
    return TrainingRanges(
        cases=int(content["cases"]),
        spacing_mm=_range(content["spacing_mm"]),
        brain_ml=_range(content["brain_ml"]),
        tumor_ml=None if tumor is None else _range(tumor),
        medians={modality: _range(content["medians"][modality]) for modality in MODALITIES},
    )


def _described_ranges(content: Mapping[str, Any]) -> TrainingRanges:
    cases: Sequence[Mapping[str, Any]] = list(content["by_case"].values())
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


def _range(values: Sequence[float]) -> Range:
    return float(min(values)), float(max(values))


def _said(what: str, value: float, known: Range, unit: str, slack: float = 0.0) -> str:
    low, high = known
    if low - slack <= value <= high + slack:
        return ""
    return f"{what} {value:.4g} {unit}".rstrip() + f" (training {low:.4g} to {high:.4g})"
