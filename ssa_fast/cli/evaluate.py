"""`ssa-fast evaluate`: segmentations against references."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

import ssa_fast
from ssa_fast.backends import BACKENDS
from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.cli.stress import run_stress
from ssa_fast.errors import BackendUnavailable, CohortError, ConfigError, SsaFastError
from ssa_fast.evaluate.comparison import paired_json, paired_text, summaries_json, summaries_text
from ssa_fast.evaluate.report import to_csv, to_json, to_text
from ssa_fast.evaluate.scores import Evaluation, score_cases
from ssa_fast.evaluate.statistics import compare, grouped, summarize
from ssa_fast.evaluate.strata import check_table, strata
from ssa_fast.files import write_json, write_whole
from ssa_fast.metrics.profiles import OVERLAP, PROFILES
from ssa_fast.volume.case import CaseFiles, find_cases

__all__ = ["command"]


@dataclass(frozen=True, kw_only=True)
class _Options:
    """What was asked for, beside the predictions and cases."""

    profile: str
    json_path: Path | None
    csv_path: Path | None
    figures: Path | None
    by: str | None
    table: Path | None
    against: Path | None
    scatter: Path | None
    stress: Path | None
    severities: tuple[int, ...]
    bundle: str
    backend: str

    def __post_init__(self) -> None:
        for option, needed in (("table", "by"), ("scatter", "against")):
            if getattr(self, option) is not None and getattr(self, needed) is None:
                raise ConfigError(f"--{option} is used with --{needed} only: give that too, or leave it out")
        if self.by is not None:
            check_table(self.by, self.table)
        for option in ("figures", "scatter"):
            if getattr(self, option) is not None and find_spec("matplotlib") is None:
                raise BackendUnavailable(f"--{option} needs 'matplotlib': pip install 'ssa-fast[report]'")


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
@click.option("--by", metavar="COLUMN", help="Also sum up by groups of cases: a column of --table, or 'volume'.")
@click.option("--table", type=PATH, metavar="CSV", help="A line a case, with a column 'case' (or the first).")
@click.option("--against", type=FOLDER, metavar="DIR", help="Compare with other predictions of the same cases.")
@click.option("--scatter", type=PATH, metavar="PNG", help="Draw those of --against across, PREDICTIONS up.")
@click.option("--stress", type=FOLDER, metavar="DIR", help="Also make the cases worse, segment and score them again.")
@click.option(
    *("--severity", "severities"),
    type=click.IntRange(1, 4),
    multiple=True,
    default=(2, 4),
    show_default=True,
    help="Of --stress, one or more: a case takes 10 segmentations, or 5 more for each beyond the first.",
)
@click.option("--bundle", default="lite", show_default=True, help="The network of --stress.")
@click.option("--backend", type=click.Choice(["auto", *BACKENDS]), default="auto", help="What runs it.")
def command(predictions: Path, cases: tuple[Path, ...], **given: Any) -> None:
    """Score the label maps in PREDICTIONS against the references of CASES.

    Dice, precision and recall of labels NCR, ED, ET and of regions WT, TC (ET is both), per case, mean and median, or
    what --metrics names; the rules stand below the tables. Empty against empty is 1, empty against something 0. Means
    have the 95 % interval of a bootstrap over cases. --stress shows how Dice falls as images get worse. A case that
    cannot be scored or drawn is named and passed by; the exit code is then 2.
    """
    options = _Options(**given)
    profile = PROFILES[options.profile]
    found = find_cases(cases)
    evaluation = score_cases(predictions, found, profile)
    click.echo(to_text(evaluation))
    record = {**to_json(evaluation, ssa_fast.__version__), **_sum_up(evaluation, options.by, options.table)}
    troubles = {"scored": sorted(evaluation.failures)}
    if options.against is not None:
        other = score_cases(options.against, found, profile)
        troubles["scored in --against"] = sorted(other.failures)
        record["against"] = _compare(evaluation, other, (predictions, options.against), options.scatter)
    if options.json_path is not None:
        write_json(options.json_path, record)
    if options.csv_path is not None:
        write_whole(options.csv_path, to_csv(evaluation).encode())
    if options.figures is not None:
        scored = {case.name: case.prediction for case in evaluation.cases}
        troubles["drawn"] = _draw([files for files in found if files.name in scored], scored, options.figures)
    if options.stress is not None:
        names = {case.name for case in evaluation.cases}
        network = (options.bundle, options.backend)
        run_stress([files for files in found if files.name in names], options.stress, network, options.severities)
    sums = [
        f"{len(names)} of {len(found)} cases could not be {verb}: {', '.join(names)}"
        for verb, names in troubles.items()
        if names
    ]
    if sums:
        raise CohortError(f"{'; '.join(sums)} (each has its line above)")


def _sum_up(evaluation: Evaluation, column: str | None, table: Path | None) -> dict[str, Any]:
    """Say what the cases say together, all and by group; the same as plain values."""
    if not evaluation.cases:
        return {}
    together = {"all": summarize(evaluation)}
    click.echo(f"\n{summaries_text(evaluation.profile, together)}")
    record: dict[str, Any] = {"statistics": summaries_json(together)["all"]}
    if column is not None:
        parted = grouped(evaluation, strata(evaluation, column, table))
        groups = {group: summarize(its) for group, its in parted.items()}
        click.echo(f"\nBy {column}:\n{summaries_text(evaluation.profile, groups)}")
        record["groups"] = {"column": column, "statistics": summaries_json(groups)}
    return record


def _compare(
    evaluation: Evaluation, other: Evaluation, folders: tuple[Path, Path], scatter: Path | None
) -> dict[str, Any]:
    """Say how far the first predictions are above the others, and draw it where that is asked for."""
    compared = compare(evaluation, other)
    click.echo(f"\n{paired_text(evaluation.profile, compared, str(folders[1]))}")
    for reason in other.failures.values():
        click.echo(f"not compared: {reason}", err=True)
    if scatter is not None:
        from ssa_fast.evaluate.scatter import draw_scatter

        names = (folders[0].name, folders[1].name)
        click.echo(f"drew {draw_scatter(evaluation, other, names, scatter)}")
    return {"predictions": folders[1].name, "differences": paired_json(compared)}


def _draw(cases: list[CaseFiles], predictions: dict[str, Path], folder: Path) -> list[str]:
    """Draw each case into the folder; the names of those that could not be drawn, each said with its reason."""
    from ssa_fast.evaluate.figures import draw_overlay

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
