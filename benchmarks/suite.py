"""The record of a suite: one row a benchmark, beside the machine, and the yardstick of the same minute in each row.

`benchmarks/results/VERSION/MACHINE.json` holds it. A later run on the same machine, with the same versions of what both
have, replaces the rows that it measured, so a part of the suite can be run again. Any other run is refused there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import plain_convolution
from benchmarks.records import commit, machine_facts, machine_name, read_record
from ssa_fast.errors import ConfigError
from ssa_fast.files import write_json

__all__ = ["FORM", "Suite", "row_of"]

FORM = "ssa-fast benchmarks 1"
"""What a record of a suite says that it is."""


@dataclass
class Suite:
    """Rows as they are measured; each is written at once, so that a run that is stopped has lost none."""

    folder: Path | None  # None: nothing is written
    is_busy: bool = False  # whether it was recorded although others took the processor

    def __post_init__(self) -> None:
        self.machine = machine_facts()
        self.rows: dict[str, dict[str, Any]] = {}
        if self.path is not None and self.path.is_file():
            self._take_up(self.path)

    @property
    def path(self) -> Path | None:
        """Where it is written."""
        return None if self.folder is None else self.folder / f"{machine_name(self.machine)}.json"

    def add(self, name: str, row: dict[str, Any]) -> None:
        """Keep a row, and write it beside those of earlier runs."""
        self.rows[name] = row | {"commit": commit(), "is_busy": self.is_busy}
        if self.path is not None:
            write_json(self.path, self.record())

    def record(self) -> dict[str, Any]:
        """All that is known."""
        return {
            "form": FORM,
            "command": "pytest benchmarks --benchmark-only --records FOLDER",
            "machine": self.machine,
            "yardstick": plain_convolution.NAME,
            "rows": dict(sorted(self.rows.items())),
        }

    def _take_up(self, path: Path) -> None:
        """Go on with the rows of an earlier run; packages that only one of the two had are of both.

        Raises ConfigError where they mean something else: of another machine, version, yardstick or form.
        """
        earlier = read_record(path)
        machine: dict[str, Any] = earlier.get("machine", {})
        versions: dict[str, str] = machine.get("versions", {})
        here: dict[str, str] = self.machine["versions"]
        pairs = [
            ("form", earlier.get("form"), FORM),
            ("yardstick", earlier.get("yardstick"), plain_convolution.NAME),
            *((key, machine.get(key), value) for key, value in self.machine.items() if key != "versions"),
            *((name, version, here[name]) for name, version in versions.items() if name in here),
        ]
        for what, there, now in pairs:
            if there != now:
                raise ConfigError(
                    f"{path}: its {what} is {there}, here {now}: give another folder as --records, or delete the file "
                    "to begin anew"
                )
        self.machine["versions"] = versions | here
        self.rows = dict(earlier["rows"])


def row_of(benchmark: Any, yardstick: plain_convolution.Yardstick, foreign: float | None) -> dict[str, Any]:
    """The row of a pytest-benchmark fixture that has run: seconds of a round, and what it said about itself."""
    stats = benchmark.stats.stats
    about = json.loads(json.dumps(benchmark.extra_info, default=str))
    if "what" in about:  # it has a record of its own, which `keep_record` writes
        about = {key: about[key] for key in ("what", "network") if key in about}
    return {
        "group": benchmark.group or "",
        "seconds": {
            "median": stats.median,
            "q1": stats.q1,
            "q3": stats.q3,
            "min": stats.min,
            "max": stats.max,
            "rounds": stats.rounds,
        },
        "yardstick_seconds": yardstick.summary(),
        "times_the_yardstick": round(stats.median / yardstick.summary()["median"], 4),
        "foreign_share": foreign,
        "about": about,
    }
