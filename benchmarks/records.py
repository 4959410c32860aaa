"""How numbers stand in a record."""

from __future__ import annotations

from dataclasses import asdict

from ssa_fast.measure import Ratio

__all__ = ["rounded"]


def rounded(ratio: Ratio) -> dict[str, float]:
    """A ratio by its fields, to three digits behind the point."""
    return {name: round(value, 3) for name, value in asdict(ratio).items()}
