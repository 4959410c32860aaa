"""How Dice falls as images get worse: cases degraded, segmented again, and scored."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ssa_fast.evaluate.degrade import DEGRADATIONS, degraded
from ssa_fast.evaluate.provenance import RESEARCH_ONLY
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.labels import REGIONS
from ssa_fast.metrics.overlap import overlaps
from ssa_fast.volume.case import Case, CaseFiles, errors_of_case, read_case, same_grid
from ssa_fast.volume.nifti import read_labels

__all__ = ["Strain", "StressSheet", "stress"]

SCHEMA, SCHEMA_VERSION = "ssa-fast/stress", 1


@dataclass(frozen=True, kw_only=True)
class Strain:
    """One case after one degradation."""

    case: str
    degradation: str
    severity: int  # 0: as it is
    dice: dict[str, float]  # WT TC ET
    suspected: tuple[str, ...] = ()  # why `infer` would have refused the case unless it was forced


@dataclass(frozen=True, kw_only=True)
class StressSheet:
    """All strains, with what they say together."""

    strains: tuple[Strain, ...]
    seed: int

    def mean(self, degradation: str, severity: int, region: str) -> float:
        """Dice over the cases. NaN where no such strain was run."""
        values = [
            one.dice[region] for one in self.strains if (one.degradation, one.severity) == (degradation, severity)
        ]
        return float(np.mean(values)) if values else float("nan")

    def refused(self, degradation: str, severity: int) -> int:
        """Cases that `infer` would have refused."""
        own = [one for one in self.strains if (one.degradation, one.severity) == (degradation, severity)]
        return sum(bool(one.suspected) for one in own)

    @property
    def severities(self) -> dict[str, list[int]]:
        """Degradation -> the severities that were run, ascending."""
        return {
            name: sorted({one.severity for one in self.strains if one.degradation == name})
            for name in dict.fromkeys(one.degradation for one in self.strains)
        }

    def to_text(self) -> str:
        """A row a degradation and severity: what it is, and mean Dice with its change from severity 0."""
        head = f"{'degradation':12}{'severity':>9}  {'what':18}" + "".join(f"{region:>16}" for region in REGIONS)
        head += "  refused"
        lines = [head, "-" * len(head)]
        for name, severities in self.severities.items():
            for severity in severities:
                cells = []
                for region in REGIONS:
                    value = self.mean(name, severity, region)
                    change = value - self.mean(name, 0, region)
                    cells.append(f"{value:8.3f} ({change:+.2f})".rjust(16))
                lines.append(f"{name:12}{severity:>9}  {DEGRADATIONS[name].steps[severity]:18}{''.join(cells)}")
                lines[-1] += f"{self.refused(name, severity):9}"
        cases = len({one.case for one in self.strains})
        lines.append(
            f"Mean Dice over {cases} cases, in brackets its change. Degradations are made up, seed {self.seed}."
        )
        lines.append(
            "refused: cases that 'infer' would not have segmented unless forced, for its checks saw the damage."
        )
        return "\n".join([*lines, RESEARCH_ONLY])

    def to_json(self, version: str) -> dict[str, Any]:
        """Plain values; `version` is that of ssa-fast."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "notice": RESEARCH_ONLY,
            "ssa_fast": version,
            "seed": self.seed,
            "degradations": {
                name: {"about": DEGRADATIONS[name].about, "steps": list(DEGRADATIONS[name].steps)}
                for name in self.severities
            },
            "strains": [
                {
                    "case": one.case,
                    "degradation": one.degradation,
                    "severity": one.severity,
                    "dice": one.dice,
                    "suspected": list(one.suspected),
                }
                for one in self.strains
            ],
        }

    def to_csv(self) -> str:
        """A row a case, degradation, severity and region."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["case", "degradation", "severity", "step", "region", "dice"])
        for one in self.strains:
            for region, dice in one.dice.items():
                step = DEGRADATIONS[one.degradation].steps[one.severity]
                writer.writerow([one.case, one.degradation, one.severity, step, region, dice])
        return text.getvalue()


def stress(
    segmenter: Segmenter,
    cases: Sequence[CaseFiles],
    severities: Sequence[int],
    on_strain: Callable[[Strain], None],
    seed: int = 0,
) -> StressSheet:
    """The sheet of `cases`, each segmented once as it is and once a degradation and severity above 0.

    A degradation with fewer severities is run up to its last. `on_strain` hears of each as it is scored.
    Raises CaseError for a case without reference or that cannot be read, and what `Segmenter.segment` raises.
    """
    wanted = {
        name: sorted({min(severity, len(known.steps) - 1) for severity in severities} - {0})
        for name, known in DEGRADATIONS.items()
    }
    strains: list[Strain] = []
    for files in cases:
        for strain in _strains(segmenter, files, wanted, seed):
            on_strain(strain)
            strains.append(strain)
    return StressSheet(strains=tuple(strains), seed=seed)


def _strains(segmenter: Segmenter, files: CaseFiles, wanted: dict[str, list[int]], seed: int) -> Iterator[Strain]:
    case = read_case(files, is_any_spacing=True)
    with errors_of_case(files.name):
        reference = read_labels(files.one("seg"))
        same_grid(reference, case.grid)

    def strained(worse: Case, name: str, severity: int) -> Strain:
        segmentation = segmenter.segment(worse)
        found = overlaps(np.asarray(reference.array, dtype=np.uint8), segmentation.labels)
        return Strain(
            case=files.name,
            degradation=name,
            severity=severity,
            dice={region: found[region].dice for region in REGIONS},
            suspected=segmentation.overridden,
        )

    clean = strained(case, "", 0)  # once for all degradations
    for name in wanted:
        yield replace(clean, degradation=name)
    for name, severities in wanted.items():
        for severity in severities:
            yield strained(degraded(case, name, severity, seed), name, severity)
