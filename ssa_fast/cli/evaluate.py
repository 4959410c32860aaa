"""`ssa-fast evaluate`: segmentations against references."""

from __future__ import annotations

from pathlib import Path

import click

import ssa_fast
from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.errors import BackendUnavailable, CohortError, SsaFastError
from ssa_fast.evaluate.report import to_csv, to_json, to_text
from ssa_fast.evaluate.scores import score_cases
from ssa_fast.files import write_json, write_whole
from ssa_fast.metrics.profiles import OVERLAP, PROFILES
from ssa_fast.volume.case import CaseFiles, find_cases

__all__ = ["command"]


@click.command(short_help="Score segmentations against references; draw them.")
@click.argument("predictions", type=FOLDER)
@click.argument("cases", nargs=-1, required=True, type=PATH)
@click.option(
    *("--metrics", "profile"),
    type=click.Choice(list(PROFILES)),
    default=OVERLAP.name,
    show_default=True,
    help="What to measure: " + "; ".join(f"{profile.name}: {profile.about}" for profile in PROFILES.values()) + ".",
)
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write every number to FILE as well.")
@click.option("--csv", "csv_path", type=PATH, metavar="FILE", help="Write a line a case and target to FILE as well.")
@click.option("--figures", type=FOLDER, metavar="DIR", help="Draw one PNG a case: reference beside prediction.")
def command(
    predictions: Path,
    cases: tuple[Path, ...],
    profile: str,
    json_path: Path | None,
    csv_path: Path | None,
    figures: Path | None,
) -> None:
    """Score the label maps in PREDICTIONS against the references of CASES.

    Dice, precision and recall of labels NCR, ED, ET and of regions WT, TC (ET is both), per case, mean and median, or
    what --metrics names; the rules stand below the tables. Empty against empty is 1, empty against something 0. A case
    that cannot be scored or drawn is named and passed by; the exit code is then 2.
    """
    found = find_cases(cases)
    evaluation = score_cases(predictions, found, PROFILES[profile])
    click.echo(to_text(evaluation))
    if json_path is not None:
        write_json(json_path, to_json(evaluation, ssa_fast.__version__))
    if csv_path is not None:
        write_whole(csv_path, to_csv(evaluation).encode())
    undrawn: list[str] = []
    if figures is not None:
        scored = {case.name: case.prediction for case in evaluation.cases}
        undrawn = _draw([files for files in found if files.name in scored], scored, figures)
    troubles = {"scored": sorted(evaluation.failures), "drawn": undrawn}
    sums = [
        f"{len(names)} of {len(found)} cases could not be {verb}: {', '.join(names)}"
        for verb, names in troubles.items()
        if names
    ]
    if sums:
        raise CohortError(f"{'; '.join(sums)} (each has its line above)")


def _draw(cases: list[CaseFiles], predictions: dict[str, Path], folder: Path) -> list[str]:
    """Draw each case into the folder; the names of those that could not be drawn, each said with its reason."""
    try:
        from ssa_fast.evaluate.figures import draw_overlay
    except ImportError as error:
        raise BackendUnavailable(f"--figures needs 'matplotlib': pip install 'ssa-fast[report]' ({error})") from error
    failed = []
    for files in cases:
        try:
            path = draw_overlay(files, predictions[files.name], folder / f"{files.name}.png")
        except SsaFastError as error:
            click.echo(str(error), err=True)
            failed.append(files.name)
        else:
            click.echo(f"drew {path}")
    return failed
