"""A report on predictions: what is computed of them once, and the words and tables that it is written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ssa_fast.evaluate.anatomy import Anatomy
from ssa_fast.evaluate.calibration import RULE, Calibration
from ssa_fast.evaluate.calibration_table import calibration_json, calibration_rows
from ssa_fast.evaluate.comparison import summaries_json
from ssa_fast.evaluate.document import Section
from ssa_fast.evaluate.look_first import NO_RECORDS, LookFirst, look_first_json, look_first_rows, look_first_words
from ssa_fast.evaluate.provenance import RESEARCH_ONLY, Provenance
from ssa_fast.evaluate.report import to_json
from ssa_fast.evaluate.scores import Evaluation
from ssa_fast.evaluate.statistics import summarize
from ssa_fast.labels import REGIONS
from ssa_fast.metrics.overlap import TARGETS

__all__ = ["SCHEMA", "SCHEMA_VERSION", "Findings", "findings_json", "sections"]

SCHEMA, SCHEMA_VERSION = "ssa-fast/scores", 1
"""Name and version of the form of `scores.json`: the version grows when a key changes its meaning or goes."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that a report on predictions says."""

    evaluation: Evaluation
    source: Provenance
    outside: Mapping[str, Sequence[str]] | None = None  # case -> what is unlike the training cases; None: not looked
    outside_rule: str = ""
    calibration: Calibration | None = None  # None: no case has probabilities
    look_first: LookFirst | None = None  # None: no record says what to look at first
    anatomies: Mapping[str, Mapping[str, Anatomy]] = field(
        default_factory=dict
    )  # case -> which segmentation -> numbers
    unread: Mapping[str, str] = field(default_factory=dict)  # case -> why its images could not be read, one line

    @property
    def seen(self) -> list[str]:
        """Scored cases that the network was trained on."""
        return self.source.seen([case.name for case in self.evaluation.cases])


def findings_json(findings: Findings, version: str) -> dict[str, Any]:
    """Plain values (JSON types): those of `report.to_json`, and more; docs/report.md has every key."""
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_ONLY,
        **to_json(findings.evaluation, version),
        "statistics": summaries_json({"all": summarize(findings.evaluation)})["all"],
        "provenance": asdict(findings.source),
        "cases_seen_in_training": findings.seen,
        "outside_training": None if findings.outside is None else {k: list(v) for k, v in findings.outside.items()},
        "calibration": None if findings.calibration is None else calibration_json(findings.calibration),
        "look_first": None if findings.look_first is None else look_first_json(findings.look_first),
        "anatomy": {
            name: {which: _plain(one) for which, one in found.items()} for name, found in findings.anatomies.items()
        },
        "images_not_read": dict(findings.unread),
    }


def _plain(one: Anatomy) -> dict[str, Any]:
    shapes = {
        target: None if shape is None else {**asdict(shape), "side": shape.side} for target, shape in one.shapes.items()
    }
    return {"shapes": shapes, "areas_mm2": {label: areas.tolist() for label, areas in one.areas_mm2.items()}}


def sections(
    findings: Findings, pictures: Sequence[tuple[str, str]], links: Sequence[tuple[str, str]]
) -> list[Section]:
    """What report.md and report.html hold; `pictures` are titles and files, `links` words and pages of cases."""
    found = [_introduction(findings), _scores(findings)]
    found += [Section(title=title, pictures=[(title, path)]) for title, path in pictures]
    found += [_cases(findings, links), _look_first(findings), _calibration(findings), _outside(findings)]
    if findings.evaluation.failures:
        found.append(Section(title="Not scored", lines=list(findings.evaluation.failures.values())))
    if findings.unread:
        found.append(Section(title="Images that could not be read", lines=list(findings.unread.values())))
    return found


def _introduction(findings: Findings) -> Section:
    evaluation, source = findings.evaluation, findings.source
    count, failed = len(evaluation.cases), len(evaluation.failures)
    lines = [
        f"Scored cases: {count}; not scored: {failed}. Statistics are over the scored ones.",
        f"Training data: {source.data}",
    ]
    if findings.seen:
        lines.append(f"The network was trained on {', '.join(findings.seen)}: their scores say nothing of new cases.")
    return Section(
        title="What this is",
        warning=RESEARCH_ONLY,
        lines=lines,
        table=[["fact", "value"], *([name, value] for name, value in source.rows if name != "trained on")],
    )


def _scores(findings: Findings) -> Section:
    evaluation = findings.evaluation
    if not evaluation.cases:
        return Section(title="Scores", lines=["No case was scored."])
    has_distances = "hd95_mm" in evaluation.profile.measures
    head = ["target", "cases", "Dice, mean", "95 % interval", "median", "precision", "recall"]
    table = [head + ["HD95, mm, median"] * has_distances]
    for target, summary in summarize(evaluation).items():
        if target not in TARGETS:
            continue
        dice = summary["dice"]
        row = [target, str(dice.count), f"{dice.mean:.3f}", f"{dice.low:.3f} to {dice.high:.3f}"]
        row += [f"{dice.quartiles[1]:.3f}", f"{summary['precision'].mean:.3f}", f"{summary['recall'].mean:.3f}"]
        if has_distances:
            row.append(f"{summary['hd95_mm'].quartiles[1]:.1f}")
        table.append(row)
    rule = evaluation.profile.rule.replace("\n", " ")
    return Section(title="Scores", lines=[rule], table=table)


def _cases(findings: Findings, links: Sequence[tuple[str, str]]) -> Section:
    head = ["case", *(f"Dice {region}" for region in REGIONS)]
    head += [f"{region} ml, reference / predicted" for region in REGIONS]
    rows = []
    for case in sorted(findings.evaluation.cases, key=lambda case: case.name):
        row = [case.name, *(f"{case.value('dice', region):.3f}" for region in REGIONS)]
        for region in REGIONS:
            row.append(f"{case.value('reference_ml', region):.1f} / {case.value('predicted_ml', region):.1f}")
        rows.append(row)
    return Section(title="Cases", table=[head, *rows], links=links)


def _look_first(findings: Findings) -> Section:
    title = "Cases to look at first"
    if findings.look_first is None:
        return Section(title=title, lines=[NO_RECORDS])
    return Section(title=title, lines=look_first_words(findings.look_first), table=look_first_rows(findings.look_first))


def _calibration(findings: Findings) -> Section:
    title, calibration = "Calibration of the probabilities", findings.calibration
    if calibration is None:
        line = "Not looked into: no probabilities are beside the predictions (infer --probabilities writes them)."
        return Section(title=title, lines=[line])
    pooled = calibration.pooled()
    lines = [RULE.replace("\n", " ")] if pooled else []
    return Section(
        title=title,
        lines=[*lines, *calibration.failures.values()],
        table=calibration_rows(pooled) if pooled else [],
    )


def _outside(findings: Findings) -> Section:
    title = "Unlike the training cases?"
    if findings.outside is None:
        line = (
            "Not looked into: the training cases are not known (a shipped bundle brings its own, by --bundle or the "
            "records; ssa-fast describe describes others, --training takes it)."
        )
        return Section(title=title, lines=[line])
    rows = [[name, "; ".join(found) or "nothing found"] for name, found in sorted(findings.outside.items())]
    return Section(title=title, lines=[findings.outside_rule], table=[["case", "outside"], *rows])
