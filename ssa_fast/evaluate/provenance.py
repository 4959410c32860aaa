"""Where segmentations came from: the network, the machine, and what a report must say of both."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssa_fast.errors import BundleError, CaseError
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.spec import gflop, parameter_count

__all__ = ["RESEARCH_ONLY", "Provenance", "provenance"]

RESEARCH_ONLY = "Research use only. Not a medical device: every result is for a radiologist to judge."
"""What stands on every report and figure of it."""

_UNKNOWN = "not recorded"
_FINGERPRINT = "bundle_sha256"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is known of the network and the run behind the predictions; empty or None where nothing recorded it."""

    network: str = ""
    trained_on: str = ""
    training_cases: int | None = None
    parameters: int | None = None
    gflop_a_window: float | None = None  # of the window that it was trained on
    bundle_sha256: str = ""
    machine: str = ""
    seconds: float | None = None  # median over cases, from reading to writing

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Names and values to read."""
        size = _UNKNOWN if self.parameters is None else f"{self.parameters / 1e6:.2f} million"
        work = _UNKNOWN if self.gflop_a_window is None else f"{self.gflop_a_window:.1f} GFLOP (computed)"
        pace = _UNKNOWN if self.seconds is None else f"{self.seconds:.1f} s a case, median (measured)"
        return [
            ("network", self.network or f"{_UNKNOWN}: name it with --bundle"),
            ("trained on", self.data if self.training_cases is None else f"{self._counted} (named in report.md)"),
            ("parameters", size),
            ("one window as in training", work),
            ("bundle SHA-256", self.bundle_sha256[:16] or _UNKNOWN),
            ("time", pace),
            ("machine", self.machine.split(";")[0] or _UNKNOWN),
        ]

    @property
    def data(self) -> str:
        """What the network was trained on, in full."""
        if not self.trained_on:
            return f"{_UNKNOWN}: name the network with --bundle"
        return self.trained_on if self.training_cases is None else f"{self._counted}: {self.trained_on}"

    def seen(self, cases: Sequence[str]) -> list[str]:
        """Those of `cases` that the network was trained on, so that their scores are none."""
        trained = set(self.trained_on.split())
        return [case for case in cases if case in trained]

    @property
    def _counted(self) -> str:
        return f"{self.training_cases} cases"


def provenance(predictions: Path, cases: Sequence[str], bundle: Bundle | None) -> Provenance:
    """What the records `CASE.json` beside the predictions say, and the bundle that made them.

    Raises CaseError for a record that cannot be read, BundleError where the records name another bundle.
    """
    records = [record for name in cases if (record := _record(predictions / f"{name}.json")) is not None]
    hashes = sorted({str(record[_FINGERPRINT]) for record in records if record.get(_FINGERPRINT)})
    if bundle is not None and hashes and hashes != [bundle.sha256]:
        raise BundleError(
            f"{predictions}: its records name the bundle {' and '.join(one[:12] for one in hashes)}, "
            f"{bundle.path.name} is {bundle.sha256[:12]}: name the bundle that made them, or segment again"
        )
    seconds = [sum(record["seconds"].values()) for record in records if isinstance(record.get("seconds"), dict)]
    known: dict[str, Any] = {
        "bundle_sha256": " ".join(hashes),
        "machine": " / ".join(sorted({str(record["machine"]) for record in records if record.get("machine")})),
        "seconds": statistics.median(seconds) if seconds else None,
    }
    if bundle is not None:
        spec = bundle.spec
        known |= {
            "network": spec.name,
            "trained_on": spec.trained_on,
            "training_cases": _count(spec.trained_on),
            "parameters": parameter_count(spec.network),
            "gflop_a_window": gflop(spec.network, spec.window),
            "bundle_sha256": bundle.sha256,
        }
    return Provenance(**known)


def _count(trained_on: str) -> int | None:
    """Cases in a list of names joined by spaces; None for other words."""
    names = trained_on.split()
    return len(names) if names and all(any(letter.isdigit() for letter in name) for name in names) else None


def _record(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CaseError(f"{path}: cannot be read as a record of 'infer' ({error}): segment the case again") from error
    return record if isinstance(record, dict) else None
