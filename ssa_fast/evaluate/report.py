"""An evaluation as a table to read and as plain values to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ssa_fast.evaluate.scores import MEASURES, CaseScores, Evaluation
from ssa_fast.metrics.overlap import TARGETS

__all__ = ["to_json", "to_text"]

_HEADINGS = {"dice": "Dice", "precision": "prec", "recall": "rec"}
_SCORE_WIDTH, _VOLUME_WIDTH = 5, 6  # "0.857", "1234.5"
_GAP = "   "  # between targets: five of them and a name of 19 letters fit into 120 columns
_RULE = "Overlap of voxels over the whole volume: both empty 1, one of them empty 0."


def to_text(evaluation: Evaluation) -> str:
    """Two aligned tables, scores and volumes, a row a case; then what was not scored and why."""
    parts = []
    if evaluation.cases:
        parts += [_score_table(evaluation), _volume_table(evaluation)]
    else:
        parts.append("No case was scored.")
    if evaluation.failures:
        total = len(evaluation.failures) + len(evaluation.cases)
        lines = [f"Not scored, and not in the mean and median: {len(evaluation.failures)} of {total} cases"]
        parts.append("\n".join([*lines, *(f"  {reason}" for reason in evaluation.failures.values())]))
    if evaluation.unmatched:
        lines = [f"Predictions without a case: {len(evaluation.unmatched)}"]
        parts.append("\n".join([*lines, *(f"  {path}" for path in evaluation.unmatched)]))
    return "\n\n".join(parts)


def to_json(evaluation: Evaluation, version: str) -> dict[str, Any]:
    """Plain values (JSON types) of an evaluation; `version` is that of ssa-fast.

    Files stand by name, not by path: a result may leave the machine. `mean` and `median` are over the
    cases scored, and empty if there are none.
    """
    return {
        "ssa_fast": version,
        "rule": _RULE,
        "targets": {target: list(labels) for target, labels in TARGETS.items()},
        "mean": _statistics(evaluation, evaluation.mean),
        "median": _statistics(evaluation, evaluation.median),
        "cases": {case.name: _case_values(case) for case in evaluation.cases},
        "failures": dict(evaluation.failures),
        "predictions_without_case": [path.name for path in evaluation.unmatched],
    }


def _statistics(evaluation: Evaluation, statistic: Callable[[str, str], float]) -> dict[str, dict[str, float]]:
    if not evaluation.cases:
        return {}
    return {target: {measure: statistic(measure, target) for measure in MEASURES} for target in TARGETS}


def _case_values(case: CaseScores) -> dict[str, Any]:
    values = {}
    for target in TARGETS:
        scores = {measure: case.value(measure, target) for measure in MEASURES}
        values[target] = {
            **scores,
            "reference_ml": case.reference_ml(target),
            "predicted_ml": case.predicted_ml(target),
        }
    return {"reference": case.reference.name, "prediction": case.prediction.name, "scores": values}


def _score_table(evaluation: Evaluation) -> str:
    rows = {case.name: _score_row(case.value) for case in evaluation.cases}
    statistics = {"mean": _score_row(evaluation.mean), "median": _score_row(evaluation.median)}
    heading = [f"{_HEADINGS[measure]:>{_SCORE_WIDTH}}" for measure in MEASURES]
    return "\n".join([*_table(heading, rows, statistics), _RULE])


def _score_row(value: Callable[[str, str], float]) -> list[list[str]]:
    return [[f"{value(measure, target):{_SCORE_WIDTH}.3f}" for measure in MEASURES] for target in TARGETS]


def _volume_table(evaluation: Evaluation) -> str:
    rows = {case.name: _volume_row(case) for case in evaluation.cases}
    heading = [f"{word:>{_VOLUME_WIDTH}}" for word in ("ref", "pred")]
    return "\n".join([*_table(heading, rows, {}), "Volumes in millilitres: reference and prediction."])


def _volume_row(case: CaseScores) -> list[list[str]]:
    pairs = [(case.reference_ml(target), case.predicted_ml(target)) for target in TARGETS]
    return [[f"{volume:{_VOLUME_WIDTH}.1f}" for volume in pair] for pair in pairs]


def _table(heading: list[str], rows: dict[str, list[list[str]]], statistics: dict[str, list[list[str]]]) -> list[str]:
    """Lines of a table with one group of columns a target; every cell comes padded to its column."""
    first = max(len(name) for name in ["median", *rows])
    group = " ".join(heading)
    rule = "-" * (first + len(TARGETS) * (len(_GAP) + len(group)))

    def line(name: str, cells: list[list[str]]) -> str:
        return f"{name:{first}}" + "".join(_GAP + " ".join(columns) for columns in cells)

    lines = [
        " " * first + "".join(_GAP + f"{target:^{len(group)}}" for target in TARGETS).rstrip(),
        line("case", [heading] * len(TARGETS)),
        rule,
        *(line(name, cells) for name, cells in rows.items()),
    ]
    return lines + [rule] * bool(statistics) + [line(name, cells) for name, cells in statistics.items()]
