"""What was tried for an engine, as a table."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ssa_fast.backends.manifest import Candidate

__all__ = ["print_candidates"]

_HEAD = ("candidate", "built in", "memory", "a window", "equal labels", "verdict")


def print_candidates(candidates: Sequence[Candidate]) -> None:
    """Print a line a candidate; a column that none of them has a value for is left out."""
    rows = [_HEAD, *(_row(one) for one in candidates)]
    columns = [cells for cells in zip(*rows, strict=True) if any(cells[1:])]
    widths = [max(len(cell) for cell in cells) for cells in columns]
    for row in zip(*columns, strict=True):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(one: Candidate) -> tuple[str, ...]:
    return (
        one.name,
        "" if one.build_seconds is None else f"{one.build_seconds:.1f} s",
        "" if one.planned_bytes is None else f"{one.planned_bytes / 1e9:.2f} GB",
        "" if one.milliseconds is None else f"{one.milliseconds:.1f} ms",
        "" if one.label_agreement is None else f"{one.label_agreement:.4%}",
        one.verdict,
    )
