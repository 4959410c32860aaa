"""A report on a folder of predictions, made and written: scores, figures, and the pages that hold them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ssa_fast
from ssa_fast.errors import BackendUnavailable, CaseError, SsaFastError
from ssa_fast.evaluate.anatomy import Anatomy, case_anatomies
from ssa_fast.evaluate.calibration import calibrate, has_probabilities
from ssa_fast.evaluate.cohort_page import write_pages
from ssa_fast.evaluate.document import Section, to_html, to_markdown
from ssa_fast.evaluate.look_first import look_first
from ssa_fast.evaluate.outside import TrainingRanges, outside_of, shipped_ranges
from ssa_fast.evaluate.provenance import provenance
from ssa_fast.evaluate.report import to_csv
from ssa_fast.evaluate.run_report import Findings, findings_json, sections
from ssa_fast.evaluate.scores import Evaluation, score_cases
from ssa_fast.files import write_json, write_whole
from ssa_fast.metrics.profiles import PROFILES, Profile
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.case import CaseFiles

if TYPE_CHECKING:
    from ssa_fast.evaluate.figures import Overlay

__all__ = ["Wanted", "check_drawing", "report_predictions", "write_report"]

_PAGES = "pages"  # folder beside the report where a case's own page may lie


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a report on predictions, beside the files."""

    out: Path
    profile: Profile = PROFILES["full"]
    bundle: Bundle | None = None  # that made the predictions
    training: TrainingRanges | None = None  # of the cases that it was trained on; None: as shipped with the bundle
    pages: bool = False  # also a page a case, and a list of them


def report_predictions(predictions: Path, cases: Sequence[CaseFiles], wanted: Wanted) -> Findings:
    """The findings on predictions of `cases`; report.html, report.md, scores.json, scores.csv and figures are written.

    Cases that cannot be scored, or whose images cannot be read, stand in the findings: the caller must say so.
    Raises what `score_cases` and `provenance` raise, BackendUnavailable without matplotlib.
    """
    check_drawing()  # before minutes of scoring
    source = provenance(predictions, [files.name for files in cases], wanted.bundle)
    evaluation = score_cases(predictions, cases, wanted.profile)
    files_of = {files.name: files for files in cases}
    unread: dict[str, str] = {}
    ranges = wanted.training or shipped_ranges(source.bundle_sha256)
    outside = _outside(evaluation, files_of, ranges, unread)
    slices = _slices(evaluation, files_of, unread)
    anatomies = _anatomies(evaluation, files_of, unread)
    if wanted.pages:
        failures = write_pages(predictions, cases, wanted.out / _PAGES, ranges)
        unread.update({name: reason for name, reason in failures.items() if name not in evaluation.failures})
    findings = Findings(
        evaluation=evaluation,
        source=source,
        outside=outside,
        outside_rule="" if ranges is None else ranges.rule,
        calibration=calibrate(evaluation.cases) if any(map(has_probabilities, evaluation.cases)) else None,
        look_first=look_first({case.name: case.prediction for case in evaluation.cases}, evaluation.cases),
        anatomies=anatomies,
        unread=unread,
    )
    write_json(wanted.out / "scores.json", findings_json(findings, ssa_fast.__version__))
    write_whole(wanted.out / "scores.csv", to_csv(evaluation, findings.calibration).encode())
    analyses = _draw_cases(anatomies, wanted.out)
    links = [*_page_links(cases, wanted.out), *analyses.items()]
    title = f"Segmentations of {len(cases)} cases"
    write_report(wanted.out, title, sections(findings, _draw(findings, slices, wanted.out), links))
    return findings


def write_report(out: Path, title: str, parts: Sequence[Section]) -> None:
    """Write report.md and report.html, each whole or not at all."""
    write_whole(out / "report.md", to_markdown(title, parts).encode())
    write_whole(out / "report.html", to_html(title, parts).encode())


def check_drawing() -> None:
    """Raise BackendUnavailable if matplotlib is not there."""
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise BackendUnavailable(f"a report needs 'matplotlib': pip install 'ssa-fast[report]' ({error})") from error


def _outside(
    evaluation: Evaluation, files_of: Mapping[str, CaseFiles], ranges: TrainingRanges | None, unread: dict[str, str]
) -> dict[str, list[str]] | None:
    """Case -> what of it is unlike the training cases; None where these are not known."""
    if ranges is None:
        return None
    found = {}
    for case in evaluation.cases:
        try:
            found[case.name] = outside_of(files_of[case.name], case.value("predicted_ml", "WT"), ranges)
        except CaseError as error:
            unread[case.name] = str(error)
    return found


def _slices(evaluation: Evaluation, files_of: Mapping[str, CaseFiles], unread: dict[str, str]) -> dict[str, Overlay]:
    """Overlays of the worst and of the best case."""
    from ssa_fast.evaluate.figures import read_overlay
    from ssa_fast.evaluate.nine_panels import ranked

    slices = {}
    order = ranked(evaluation)
    for case in [*order[:1], *order[1:][-1:]]:
        try:
            slices[case.name] = read_overlay(files_of[case.name], case.prediction)
        except SsaFastError as error:
            unread[case.name] = str(error)
    return slices


def _anatomies(
    evaluation: Evaluation, files_of: Mapping[str, CaseFiles], unread: dict[str, str]
) -> dict[str, dict[str, Anatomy]]:
    """Case -> its segmentations in numbers, for all whose images can be read."""
    found = {}
    for case in evaluation.cases:
        try:
            found[case.name] = case_anatomies(files_of[case.name], case.prediction)
        except CaseError as error:
            unread[case.name] = str(error)
    return found


def _page_links(cases: Sequence[CaseFiles], out: Path) -> list[tuple[str, str]]:
    """The pages of cases beside the report, those of `ssa-fast page` too: their list first, where there is one."""
    wanted = [("all cases to look at, worst first", "index"), *((f"{files.name}, page", files.name) for files in cases)]
    return [(words, f"{_PAGES}/{name}.html") for words, name in wanted if (out / _PAGES / f"{name}.html").is_file()]


def _draw_cases(anatomies: Mapping[str, Mapping[str, Anatomy]], out: Path) -> dict[str, str]:
    """A figure a case written; what it shows -> its file beside the report."""
    from ssa_fast.evaluate.case_figure import case_figure
    from ssa_fast.evaluate.chart import save_figure

    paths = {}
    for name, found in anatomies.items():
        path, _ = save_figure(case_figure(name, found), out / "figures" / "cases", name)
        paths[f"{name}, slice by slice and in space"] = f"figures/cases/{path.name}"
    return paths


def _draw(findings: Findings, slices: Mapping[str, Overlay], out: Path) -> list[tuple[str, str]]:
    """The figures written; their titles, and their files beside the report."""
    from ssa_fast.evaluate.calibration_figure import calibration_figure
    from ssa_fast.evaluate.chart import save_figure
    from ssa_fast.evaluate.dashboard import dashboard
    from ssa_fast.evaluate.nine_panels import nine_panels

    evaluation, calibration = findings.evaluation, findings.calibration
    figures = [
        ("Performance", "02_performance_dashboard", dashboard(evaluation, findings.source)),
        ("Evaluation in nine panels", "04_evaluation", nine_panels(evaluation, slices)),
    ]
    if calibration is not None and calibration.cases:
        figures.append(("Reliability of the probabilities", "05_calibration", calibration_figure(calibration)))
    folder = out / "figures"
    return [(title, f"figures/{save_figure(figure, folder, name)[0].name}") for title, name, figure in figures]
