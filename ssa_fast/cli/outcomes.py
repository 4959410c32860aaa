"""What became of each case that was to be segmented, said as it comes."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from ssa_fast.errors import CohortError
from ssa_fast.infer.cohort import Outcome
from ssa_fast.infer.doubt import Doubt
from ssa_fast.measure import peak_memory_bytes

__all__ = ["say_outcomes"]


def say_outcomes(
    outcomes: Iterator[Outcome], count: int, out: Path, peak_bytes: Callable[[], int] = peak_memory_bytes
) -> None:
    """Say what became of each of `count` cases, and in the end raise CohortError if some failed."""
    seconds, kept, failed = [], 0, []
    for place, outcome in enumerate(outcomes, start=1):
        _say(outcome, place, count)
        if outcome.error is not None:
            failed.append(outcome.name)
        elif outcome.is_kept:
            kept += 1
        else:
            seconds.append(sum(outcome.seconds.values()))
        del outcome  # with its labels, before the next one is waited for
    if seconds:
        click.echo(
            f"{len(seconds)} of {count} cases in {out}: median {statistics.median(seconds):.2f} s a case, "
            f"peak memory {peak_bytes() / 1e9:.2f} GB"
        )
    if kept:
        click.echo(f"{kept} of {count} cases were there already")
    if failed:
        raise CohortError(f"{len(failed)} of {count} cases failed: {', '.join(failed)} (each has its line above)")


def _say(outcome: Outcome, place: int, count: int) -> None:
    head = f"[{place}/{count}] {outcome.name}"
    if outcome.is_kept:
        click.echo(f"{head}: there already")
    elif outcome.record is None:
        message = str(outcome.error).removeprefix(f"case {outcome.name}: ")
        stale = " (what is in its place is of an earlier run)" if outcome.is_stale else ""
        click.echo(f"{head}: {message}{stale}", err=True)
    else:
        stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in outcome.seconds.items())
        volumes = ", ".join(f"{name} {volume:.1f}" for name, volume in outcome.record["volumes_ml"].items())
        click.echo(f"{head}: {sum(outcome.seconds.values()):.2f} s ({stages}); {volumes} ml")
        if outcome.record["doubt"] is not None:
            click.echo(f"{head}: {Doubt(**outcome.record['doubt'])}")
    sys.stdout.flush()
