"""An evaluation as tables to read, as plain values and as comma-separated values to keep."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ssa_fast.evaluate.calibration import Calibration
from ssa_fast.evaluate.scores import Evaluation
from ssa_fast.metrics.profiles import MEASURES, OVERLAP

__all__ = ["aligned", "first_of", "to_csv", "to_json", "to_text"]

_VOXELS = ("dice", "precision", "recall")
_VOLUMES = ("reference_ml", "predicted_ml")
_VOLUME_HEADINGS = ("ref", "pred")
_SCORE_WIDTH, _VOLUME_WIDTH = 5, 6  # "0.857", "1234.5"
_MOST_NAMES = 5  # in one line
_GAP = "   "  # between targets: five of them and a name of 19 letters fit into 120 columns


def to_text(evaluation: Evaluation) -> str:
    """Aligned tables with a row a case; then what was not scored and why.

    The profile `overlap` has a table of scores and one of volumes, a group of columns a target; every other profile a
    table a target, a column a measure.
    """
    parts = []
    if not evaluation.cases:
        parts.append("No case was scored.")
    elif evaluation.profile is OVERLAP:
        parts += [_score_table(evaluation), _volume_table(evaluation)]
    else:
        tables = [_target_table(evaluation, target) for target in evaluation.profile.targets]
        parts += [*tables[:-1], f"{tables[-1]}\n{evaluation.profile.rule}"]
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
    cases scored, and empty if there are none. `confusion` is voxels of labels 0 to 3: a row is a label of the
    reference, a column one of the prediction.
    """
    counts = sum((case.confusion for case in evaluation.cases), start=np.zeros((4, 4), dtype=np.int64))
    return {
        "ssa_fast": version,
        "metrics": evaluation.profile.name,
        "rule": evaluation.profile.rule,
        "targets": {target: list(labels) for target, labels in evaluation.profile.labels.items()},
        "mean": _statistics(evaluation, evaluation.mean),
        "median": _statistics(evaluation, evaluation.median),
        "confusion": counts.tolist(),
        "cases": {
            case.name: {
                "reference": case.reference.name,
                "prediction": case.prediction.name,
                "confusion": case.confusion.tolist(),
                "scores": {target: dict(values) for target, values in case.scores.items()},
            }
            for case in evaluation.cases
        },
        "failures": dict(evaluation.failures),
        "predictions_without_case": [path.name for path in evaluation.unmatched],
    }


def to_csv(evaluation: Evaluation, calibration: Calibration | None = None) -> str:
    """A line for every case and target with all measures of the profile, below a line of their names.

    With a calibration the last column is `ece`, empty where a case or target has none.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "target", *evaluation.profile.measures, *(["ece"] if calibration else [])])
    for case in evaluation.cases:
        for target, values in case.scores.items():
            last = [] if calibration is None else [_ece(calibration, case.name, target)]
            writer.writerow([case.name, target, *values.values(), *last])
    return text.getvalue()


def aligned(rows: Sequence[Sequence[str]], rules: Sequence[int] = (1,)) -> str:
    """Columns padded to their widest cell, the first to the left; a rule above each row whose number is in `rules`."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for place, (name, *cells) in enumerate(rows):
        if place in rules:
            lines.append("-" * (sum(widths) + 2 * len(cells)))
        padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([f"{name:{widths[0]}}", *padded]))
    return "\n".join(lines)


def first_of(names: Sequence[str]) -> str:
    """Names for one line, the first few where there are many: "A, B, C and 61 more"."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: _MOST_NAMES - 1])} and {len(names) - _MOST_NAMES + 1} more"


def _ece(calibration: Calibration, case: str, target: str) -> float | None:
    its = calibration.cases.get(case, {}).get(target)
    return None if its is None else its.ece


def _statistics(evaluation: Evaluation, statistic: Callable[[str, str], float]) -> dict[str, dict[str, float]]:
    if not evaluation.cases:
        return {}
    profile = evaluation.profile
    return {target: {measure: statistic(measure, target) for measure in profile.measures} for target in profile.targets}


def _score_table(evaluation: Evaluation) -> str:
    heading = [f"{MEASURES[measure].heading:>{_SCORE_WIDTH}}" for measure in _VOXELS]
    rows = {case.name: _group_row(case.value, _VOXELS, _SCORE_WIDTH) for case in evaluation.cases}
    statistics = {
        name: _group_row(statistic, _VOXELS, _SCORE_WIDTH)
        for name, statistic in (("mean", evaluation.mean), ("median", evaluation.median))
    }
    return "\n".join([*_table(heading, rows, statistics), evaluation.profile.rule])


def _volume_table(evaluation: Evaluation) -> str:
    heading = [f"{word:>{_VOLUME_WIDTH}}" for word in _VOLUME_HEADINGS]
    rows = {case.name: _group_row(case.value, _VOLUMES, _VOLUME_WIDTH) for case in evaluation.cases}
    return "\n".join([*_table(heading, rows, {}), "Volumes in millilitres: reference and prediction."])


def _group_row(value: Callable[[str, str], float], measures: Sequence[str], width: int) -> list[list[str]]:
    """The cells of one row: for every target, every measure."""
    return [
        [f"{value(measure, target):{width}.{MEASURES[measure].decimals}f}" for measure in measures]
        for target in OVERLAP.targets
    ]


def _target_table(evaluation: Evaluation, target: str) -> str:
    measures = {name: MEASURES[name] for name in evaluation.profile.measures}
    first = max(len(name) for name in ["median", target, *(case.name for case in evaluation.cases)])

    widths = {name: max(len(shown.heading), _VOLUME_WIDTH, shown.decimals + 2) for name, shown in measures.items()}

    def line(name: str, value: Callable[[str, str], float], *, is_statistic: bool = False) -> str:
        cells = []
        for measure, shown in measures.items():
            decimals = max(shown.decimals, 1) if is_statistic else shown.decimals  # a mean of counts is no count
            cells.append(f" {value(measure, target):{widths[measure]}.{decimals}f}")
        return f"{name:{first}}" + "".join(cells)

    heading = f"{target:{first}}" + "".join(f" {shown.heading:>{widths[name]}}" for name, shown in measures.items())
    rule = "-" * len(heading)
    rows = [line(case.name, case.value) for case in evaluation.cases]
    sums = [("mean", evaluation.mean), ("median", evaluation.median)]
    return "\n".join([heading, rule, *rows, rule, *(line(name, value, is_statistic=True) for name, value in sums)])


def _table(heading: list[str], rows: dict[str, list[list[str]]], statistics: dict[str, list[list[str]]]) -> list[str]:
    """Lines of a table with one group of columns a target; every cell comes padded to its column."""
    first = max(len(name) for name in ["median", *rows])
    group = " ".join(heading)
    targets = OVERLAP.targets
    rule = "-" * (first + len(targets) * (len(_GAP) + len(group)))

    def line(name: str, cells: list[list[str]]) -> str:
        return f"{name:{first}}" + "".join(_GAP + " ".join(columns) for columns in cells)

    lines = [
        " " * first + "".join(_GAP + f"{target:^{len(group)}}" for target in targets).rstrip(),
        line("case", [heading] * len(targets)),
        rule,
        *(line(name, cells) for name, cells in rows.items()),
    ]
    return lines + [rule] * bool(statistics) + [line(name, cells) for name, cells in statistics.items()]
