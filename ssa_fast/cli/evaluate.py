"""`ssa-fast evaluate`: segmentations against references."""

from __future__ import annotations

from pathlib import Path

import click

import ssa_fast
from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.errors import BackendUnavailable, CohortError
from ssa_fast.evaluate.report import to_json, to_text
from ssa_fast.evaluate.scores import score_cases
from ssa_fast.files import write_json
from ssa_fast.volume.case import CaseFiles, find_cases

__all__ = ["command"]


@click.command(short_help="Score segmentations against references; draw them.")
@click.argument("predictions", type=FOLDER)
@click.argument("cases", nargs=-1, required=True, type=PATH)
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write every number to FILE as well.")
@click.option("--figures", type=FOLDER, metavar="DIR", help="Draw one PNG a case: reference beside prediction.")
def command(predictions: Path, cases: tuple[Path, ...], json_path: Path | None, figures: Path | None) -> None:
    """Score the label maps in PREDICTIONS against the references of CASES.

    Dice, precision and recall of labels NCR, ED, ET and of regions WT, TC (ET is both), per case, mean and median.
    Empty against empty is 1, empty against something 0. A case that cannot be scored is named; the exit code is then 2.
    """
    found = find_cases(cases)
    evaluation = score_cases(predictions, found)
    click.echo(to_text(evaluation))
    if json_path is not None:
        write_json(json_path, to_json(evaluation, ssa_fast.__version__))
    if figures is not None:
        scored = {case.name: case.prediction for case in evaluation.cases}
        _draw([files for files in found if files.name in scored], scored, figures)
    if evaluation.failures:
        raise CohortError(
            f"{len(evaluation.failures)} of {len(found)} cases could not be scored: "
            f"{', '.join(sorted(evaluation.failures))} (each has its line above)"
        )


def _draw(cases: list[CaseFiles], predictions: dict[str, Path], folder: Path) -> None:
    try:
        from ssa_fast.evaluate.figures import draw_overlay
    except ImportError as error:
        raise BackendUnavailable(f"--figures needs 'matplotlib': pip install 'ssa-fast[report]' ({error})") from error
    for files in cases:
        click.echo(f"drew {draw_overlay(files, predictions[files.name], folder / f'{files.name}.png')}")
