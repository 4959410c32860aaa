"""`ssa-fast report`: figures, tables and machine-readable scores of predictions, or of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.errors import CohortError, ConfigError
from ssa_fast.evaluate.outside import read_ranges
from ssa_fast.evaluate.predictions_report import Wanted, report_predictions
from ssa_fast.evaluate.report import first_of
from ssa_fast.evaluate.training_report import report_training
from ssa_fast.evaluate.training_run import is_training_run
from ssa_fast.metrics.profiles import PROFILES
from ssa_fast.model.bundle import read_bundle
from ssa_fast.pretrained import bundle_path
from ssa_fast.volume.case import find_cases

__all__ = ["command"]


@click.command(short_help="Figures, tables and scores on one page.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("cases", nargs=-1, type=PATH)
@click.option("--out", type=FOLDER, default=Path("report"), show_default=True, help="Where the report goes.")
@click.option("--bundle", help="The network that made the predictions: a shipped bundle's name, or an .onnx file.")
@click.option(
    "--training",
    type=PATH,
    metavar="JSON",
    help="What 'describe' wrote of the cases it was trained on; a shipped bundle brings its own.",
)
@click.option("--pages", is_flag=True, help="Also write a page a case, as 'page' does, and link it.")
@click.option(
    "--metrics",
    type=click.Choice(["full", "overlap"]),
    default="full",
    show_default=True,
    help="full: distances of surfaces too (extra 'evaluate'); overlap: voxels and volumes alone.",
)
def command(
    folder: Path,
    cases: tuple[Path, ...],
    out: Path,
    pages: bool,
    metrics: str,
    **network: Any,
) -> None:
    """Report on FOLDER: predictions with their CASES, or a training run's folder, which needs none.

    Of predictions it writes report.html, report.md, scores.json, scores.csv and figures; of a run report and figures.
    Figures are PNG and SVG (extra 'report'). Numbers come from the files alone. --bundle names the network, so that the
    report can say what it was trained on; where its training cases are known, it says which cases are unlike them.
    Research use only. A case that cannot be scored or drawn is named; the exit code is then 2.
    """
    bundle: str | None = network["bundle"]
    training: Path | None = network["training"]
    if is_training_run(folder):
        if cases or bundle is not None or training is not None or pages:
            raise ConfigError(
                f"{folder}: is a training run, which its report needs no cases, --bundle, --training or --pages for"
            )
        report_training(folder, out)
        click.echo(f"wrote {out / 'report.html'}, report.md and figures")
        return
    if not cases:
        raise ConfigError(f"{folder}: a report on predictions needs the CASES that they are of: name them, too")
    wanted = Wanted(
        out=out,
        profile=PROFILES[metrics],
        bundle=None if bundle is None else read_bundle(bundle_path(bundle)),
        training=None if training is None else read_ranges(training),
        pages=pages,
    )
    found = find_cases(cases)
    findings = report_predictions(folder, found, wanted)
    click.echo(f"wrote {out / 'report.html'}, report.md, scores.json, scores.csv and figures")
    troubles = {**findings.unread, **findings.evaluation.failures}
    for reason in troubles.values():
        click.echo(reason, err=True)
    if troubles:
        names = first_of(sorted(troubles))
        raise CohortError(f"{len(troubles)} of {len(found)} cases could not be reported in full: {names} (see above)")
