"""`ssa-fast evaluate`: segmentations against references."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
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
from ssa_fast.evaluate.calibration import Calibration, calibrate
from ssa_fast.evaluate.calibration_table import calibration_json, calibration_text
from ssa_fast.evaluate.comparison import paired_json, paired_text, summaries_json, summaries_text
from ssa_fast.evaluate.look_first import NO_RECORDS, look_first, look_first_json, look_first_rows, look_first_words
from ssa_fast.evaluate.report import aligned, first_of, to_csv, to_json, to_text
from ssa_fast.evaluate.scores import Evaluation, find_predictions, score_cases
from ssa_fast.evaluate.statistics import compare, grouped, summarize
from ssa_fast.evaluate.strata import check_table, strata
from ssa_fast.files import write_json, write_whole
from ssa_fast.metrics.profiles import OVERLAP, PROFILES
from ssa_fast.pretrained import DEFAULT_BUNDLE
from ssa_fast.volume.case import CaseFiles, find_cases

__all__ = ["command"]

_COLUMNS = 120
_MOST_LOOKS = 12  # cases on the screen, of those to look at first


@dataclass(frozen=True, kw_only=True)
class _Options:
    """What was asked for, beside the predictions and cases."""

    profile: str
    json_path: Path | None
    csv_path: Path | None
    calibration: bool
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
        if self.against is not None and find_spec("scipy") is None:
            raise BackendUnavailable("--against needs 'scipy': pip install 'ssa-fast[evaluate]'")


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
@click.option("--calibration", is_flag=True, help="Also hold the maps of 'infer --probabilities' against references.")
@click.option("--figures", type=FOLDER, metavar="DIR", help="Draw one PNG a case, and the calibration.")
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
@click.option("--bundle", default=DEFAULT_BUNDLE, show_default=True, help="The network of --stress.")
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
    if options.against is not None:
        find_predictions(options.against)  # refused before minutes of scoring
    evaluation = score_cases(predictions, found, profile)
    click.echo(to_text(evaluation))
    groups = None
    if options.by is not None and evaluation.cases:
        groups = strata(evaluation, options.by, options.table)
    record = {**to_json(evaluation, ssa_fast.__version__), **_sum_up(evaluation, options.by, groups)}
    troubles = {"scored": sorted(evaluation.failures)}
    calibration = None
    if options.calibration:
        calibration = calibrate(evaluation.cases)
        click.echo(f"\n{calibration_text(calibration, groups)}")
        record["calibration"] = calibration_json(calibration, groups)
        troubles["calibrated"] = sorted(calibration.failures)
    record["look_first"] = _look_first(evaluation)
    if options.against is not None:
        other = score_cases(options.against, found, profile)
        troubles["scored in --against"] = sorted(other.failures)
        record["against"] = _compare(evaluation, other, (predictions, options.against), options.scatter)
    if options.json_path is not None:
        write_json(options.json_path, record)
    if options.csv_path is not None:
        write_whole(options.csv_path, to_csv(evaluation, calibration).encode())
    chosen = [files for files in found if files.name in {case.name for case in evaluation.cases}]
    if options.figures is not None:
        troubles["drawn"] = _draw(chosen, evaluation, options.figures)
        _draw_calibration(calibration, options.figures)
    if options.stress is not None:
        run_stress(chosen, options.stress, (options.bundle, options.backend), options.severities)
    _raise_troubles(troubles, len(found), is_apart=record.get("against", {}).get("differences") == {})


def _raise_troubles(troubles: Mapping[str, Sequence[str]], total: int, *, is_apart: bool) -> None:
    """Raise CohortError if anything could not be done; each reason has been said, and all is written."""
    sums = [
        f"{len(names)} of {total} cases could not be {verb}: {first_of(names)}"
        for verb, names in troubles.items()
        if names
    ]
    if is_apart:
        sums.append("no case was scored in both folders of predictions: segment the same cases into both")
    if sums:
        raise CohortError(f"{'; '.join(sums)} (each has its line above)")


def _sum_up(evaluation: Evaluation, column: str | None, groups: Mapping[str, str] | None) -> dict[str, Any]:
    """Say what the cases say together, all and by group; the same as plain values."""
    if not evaluation.cases:
        return {}
    together = {"all": summarize(evaluation)}
    click.echo(f"\n{summaries_text(evaluation.profile, together)}")
    record: dict[str, Any] = {"statistics": summaries_json(together)["all"]}
    if groups is not None:
        summaries = {group: summarize(its) for group, its in grouped(evaluation, groups).items()}
        click.echo(f"\nBy {column}:\n{summaries_text(evaluation.profile, summaries)}")
        record["groups"] = {"column": column, "statistics": summaries_json(summaries)}
    return record


def _look_first(evaluation: Evaluation) -> dict[str, Any] | None:
    """Say which cases to look at first, by their records, and how well that order did; the same as plain values."""
    found = look_first({case.name: case.prediction for case in evaluation.cases}, evaluation.cases)
    if found is None:
        click.echo(f"\n{NO_RECORDS}")
        return None
    rows = look_first_rows(found)
    shown = aligned(rows[: 1 + _MOST_LOOKS])
    more = f"\nand {len(rows) - 1 - _MOST_LOOKS} more, in --json" if len(rows) - 1 > _MOST_LOOKS else ""
    said = "\n".join(textwrap.fill(words, _COLUMNS) for words in look_first_words(found))
    click.echo(f"\nCases to look at first:\n{shown}{more}\n{said}")
    return look_first_json(found)


def _compare(
    evaluation: Evaluation, other: Evaluation, folders: tuple[Path, Path], scatter: Path | None
) -> dict[str, Any]:
    """Say how far the first predictions are above the others, and draw it where that is asked for.

    Where no case was scored in both, the differences are empty.
    """
    record: dict[str, Any] = {"predictions": folders[1].name, "differences": {}}
    for reason in other.failures.values():
        click.echo(f"not compared: {reason}", err=True)
    if not {case.name for case in evaluation.cases} & {case.name for case in other.cases}:
        return record
    compared = compare(evaluation, other)
    click.echo(f"\n{paired_text(evaluation.profile, compared, str(folders[1]))}")
    if scatter is not None:
        from ssa_fast.evaluate.scatter import draw_scatter

        names = (folders[0].name, folders[1].name)
        click.echo(f"drew {draw_scatter(evaluation, other, names, scatter)}")
    return {**record, "differences": paired_json(compared)}


def _draw(cases: Sequence[CaseFiles], evaluation: Evaluation, folder: Path) -> list[str]:
    """Draw each case into the folder; the names of those that could not be drawn, each said with its reason."""
    from ssa_fast.evaluate.figures import draw_overlay

    predictions = {case.name: case.prediction for case in evaluation.cases}
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


def _draw_calibration(calibration: Calibration | None, folder: Path) -> None:
    if calibration is None or not calibration.cases:
        return
    from ssa_fast.evaluate.calibration_figure import calibration_figure
    from ssa_fast.evaluate.chart import save_figure

    click.echo(f"drew {save_figure(calibration_figure(calibration), folder, 'calibration')[0]}")
