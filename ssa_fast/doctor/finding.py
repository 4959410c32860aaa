"""A trap that a machine is in, told to a person."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["TENSORRT", "Finding", "Severity", "version_numbers"]

TENSORRT = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")
"""Packages that bring TensorRT."""

Severity: TypeAlias = Literal["error", "warning", "note"]
"""error: something fails or is far too slow; warning: it is not what was meant; note: good to know."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A trap that a machine is in."""

    trap: str
    severity: Severity
    seen: str  # on which evidence
    effect: str  # what it does
    fix: str  # a command or a setting


def version_numbers(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with: (2, 9, 1) of 2.9.1+cu126; () where there are none."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()
