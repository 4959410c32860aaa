"""What many cases say together: means with their intervals, groups of cases, and two predictions of the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import BackendUnavailable, CaseError
from ssa_fast.evaluate.scores import Evaluation

__all__ = ["RESAMPLES", "Paired", "Summary", "compare", "grouped", "summarize", "terciles"]

RESAMPLES = 10_000
"""Samples of as many cases, drawn with replacement, that an interval is made of."""

_SEED = 0
_BOUNDS = (2.5, 97.5)  # percent


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One measure of one target over cases."""

    count: int
    mean: float
    low: float  # of the 95 % interval of the mean
    high: float
    quartiles: tuple[float, float, float]  # the second is the median


@dataclass(frozen=True, kw_only=True)
class Paired:
    """One measure of one target in two predictions of the same cases: the first less the other."""

    count: int
    mean: float
    low: float  # of the 95 % interval of the mean
    high: float
    median: float
    higher: int  # cases in which the first's value is the higher
    lower: int
    p: float  # of Wilcoxon's signed-rank test, two-sided; 1 if no case differs


def summarize(evaluation: Evaluation) -> dict[str, dict[str, Summary]]:
    """Target -> measure -> summary over the cases scored; nothing if there are none.

    Intervals are percentile bootstraps over cases (Efron 1979), `RESAMPLES` samples of a fixed seed: equal for equal
    scores. With few cases they are too narrow, and of one case they are that case.
    """
    if not evaluation.cases:
        return {}
    table = _table(evaluation)
    low, high = _intervals(table)
    quartiles = np.percentile(table, (25, 50, 75), axis=0)
    profile = evaluation.profile
    found: dict[str, dict[str, Summary]] = {target: {} for target in profile.targets}
    for place, (target, measure) in enumerate(_columns(evaluation)):
        first, second, third = (float(value) for value in quartiles[:, place])
        found[target][measure] = Summary(
            count=len(table),
            mean=float(table[:, place].mean()),
            low=float(low[place]),
            high=float(high[place]),
            quartiles=(first, second, third),
        )
    return found


def compare(evaluation: Evaluation, other: Evaluation) -> dict[str, dict[str, Paired]]:
    """Target -> measure -> how far `evaluation` is above `other`, over the cases that both have scored.

    Raises CaseError if there are none, BackendUnavailable without scipy.
    Source: Wilcoxon 1945, as scipy has it (cases of no difference left out); intervals as in `summarize`.
    """
    common = {case.name for case in evaluation.cases} & {case.name for case in other.cases}
    if not common:
        raise CaseError("no case was scored in both folders of predictions: segment the same cases into both")
    pair = [
        replace(one, cases=tuple(case for case in sorted(one.cases, key=lambda case: case.name) if case.name in common))
        for one in (evaluation, other)
    ]
    differences = _table(pair[0]) - _table(pair[1])
    low, high = _intervals(differences)
    found: dict[str, dict[str, Paired]] = {target: {} for target in evaluation.profile.targets}
    for place, (target, measure) in enumerate(_columns(evaluation)):
        column = differences[:, place]
        found[target][measure] = Paired(
            count=len(column),
            mean=float(column.mean()),
            low=float(low[place]),
            high=float(high[place]),
            median=float(np.median(column)),
            higher=int((column > 0).sum()),
            lower=int((column < 0).sum()),
            p=_wilcoxon(column),
        )
    return found


def grouped(evaluation: Evaluation, groups: Mapping[str, str]) -> dict[str, Evaluation]:
    """The evaluation's cases parted by group, groups in order of their names; `groups` is case -> group."""
    names = sorted({groups[case.name] for case in evaluation.cases})
    return {
        name: replace(evaluation, cases=tuple(case for case in evaluation.cases if groups[case.name] == name))
        for name in names
    }


def terciles(values: Mapping[str, float], unit: str = "") -> dict[str, str]:
    """Case -> which third of all cases its value lies in, named by the third's ends: "1: 2.5 to 20.1 ml".

    Equal values are in one third, so that thirds need not be of one size.
    """
    ordered = np.sort(list(values.values()))
    bounds = [ordered[len(ordered) * third // 3] for third in (1, 2)]
    thirds = {case: int(np.searchsorted(bounds, value, side="right")) for case, value in values.items()}
    names = {}
    for third in set(thirds.values()):
        inside = [values[case] for case, its in thirds.items() if its == third]
        names[third] = f"{third + 1}: {min(inside):g} to {max(inside):g}{unit}"
    return {case: names[third] for case, third in thirds.items()}


def _columns(evaluation: Evaluation) -> Sequence[tuple[str, str]]:
    profile = evaluation.profile
    return [(target, measure) for target in profile.targets for measure in profile.measures]


def _table(evaluation: Evaluation) -> npt.NDArray[np.float64]:
    """A row a case, a column a target and measure."""
    columns = _columns(evaluation)
    return np.array([[case.value(measure, target) for target, measure in columns] for case in evaluation.cases])


def _intervals(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The bounds of the mean of every column: (cases, columns) -> (2, columns)."""
    cases = len(table)
    rng = np.random.default_rng(_SEED)
    drawn = rng.multinomial(cases, np.full(cases, 1 / cases), size=RESAMPLES)  # how often each case, (samples, cases)
    return np.asarray(np.percentile(drawn @ table / cases, _BOUNDS, axis=0))


def _wilcoxon(differences: npt.NDArray[np.float64]) -> float:
    try:
        from scipy.stats import wilcoxon
    except ImportError as error:
        raise BackendUnavailable(f"--against needs 'scipy': pip install 'ssa-fast[evaluate]' ({error})") from error
    apart = differences[differences != 0]
    return float(wilcoxon(apart).pvalue) if apart.size else 1.0
