"""The records of this version, and how their numbers stand in a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, TypeAlias

import ssa_fast

__all__ = ["REGIONS", "ROOT", "Record", "Records", "fixed", "link", "read_records", "regions", "table"]

Record: TypeAlias = Mapping[str, Any]
Records: TypeAlias = Mapping[str, Record]  # name, without its ending -> what the file holds

ROOT = Path(__file__).resolve().parents[2]
REGIONS = ("WT", "TC", "ET")

_FOLDER = f"benchmarks/results/{ssa_fast.__version__}"


def read_records() -> Records:
    """All records of this version of the package, by name."""
    files = sorted((ROOT / _FOLDER).glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown. What is None is left empty; `|` in a cell is escaped."""
    ruled = "|".join(["---"] * len(head))
    lines = [f"| {' | '.join(map(_cell, line))} |" for line in (head, *rows)]
    return "\n".join([lines[0], f"|{ruled}|", *lines[1:]])


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("|", r"\|")


def regions(values: Mapping[str, float] | Sequence[float], digits: int = 3) -> str:
    """Numbers of WT, TC and ET, by name or in this order: `0.871 / 0.640 / 0.785`."""
    numbers = [values[name] for name in REGIONS] if isinstance(values, Mapping) else values
    return " / ".join(fixed(number, digits) for number in numbers)


def fixed(number: float, digits: int) -> str:
    """A recorded number to so many digits behind the point, halves up, as people round; zero has no sign."""
    rounded = Decimal(str(number)).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return str(rounded + 0)


def link(name: str) -> str:
    """The record of a name, as a link from a page in docs/."""
    return f"[`{name}.json`](../{_FOLDER}/{name}.json)"
