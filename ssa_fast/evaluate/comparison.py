"""What cases say together, as tables to read and plain values to keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ssa_fast.evaluate.statistics import Paired, Summary
from ssa_fast.metrics.profiles import MEASURES, Profile

__all__ = ["paired_json", "paired_text", "summaries_json", "summaries_text"]

_NONE = f"{'-':>8}"  # a single case has no interval


def summaries_text(profile: Profile, groups: Mapping[str, Mapping[str, Mapping[str, Summary]]]) -> str:
    """A table for each headline of the profile: a row a target, or a target and group where there are several groups.

    `groups` is group -> target -> measure -> summary; of one group the name is not shown.
    """
    names = [_row_name(target, group, groups) for target in profile.targets for group in groups]
    tables = []
    for measure in profile.headline:
        shown = MEASURES[measure]
        first = max(len(name) for name in [shown.heading, *names])
        head = f"{shown.heading:{first}}  cases     mean  95 % interval          25 %   median     75 %"
        lines = [head, "-" * len(head)]
        for target in profile.targets:
            for group, summaries in groups.items():
                found = summaries[target][measure]
                decimals = max(shown.decimals, 1)
                numbers = [f"{value:8.{decimals}f}" for value in (found.mean, found.low, found.high, *found.quartiles)]
                mean, low, high, *quartiles = numbers
                low, high = (_NONE, _NONE) if found.count == 1 else (low, high)
                row = f"{_row_name(target, group, groups):{first}}  {found.count:5}"
                lines.append(f"{row} {mean} {low} to{high}  {' '.join(quartiles)}")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def paired_text(profile: Profile, compared: Mapping[str, Mapping[str, Paired]], other: str) -> str:
    """A table for each headline of the profile: how far the first prediction is above that in the folder `other`."""
    tables = []
    for measure in profile.headline:
        shown = MEASURES[measure]
        first = max(len(name) for name in [shown.heading, *profile.targets])
        head = f"{shown.heading:{first}}  cases     mean  95 % interval        median  higher  lower  Wilcoxon p"
        lines = [f"Less that of {other}, over the cases of both:", head, "-" * len(head)]
        for target in profile.targets:
            found = compared[target][measure]
            decimals = max(shown.decimals, 1)
            numbers = [f"{value:+8.{decimals}f}" for value in (found.mean, found.low, found.high, found.median)]
            mean, low, high, median = numbers
            low, high = (_NONE, _NONE) if found.count == 1 else (low, high)
            counts = f"{found.count:5} {mean} {low} to{high}  {median}  {found.higher:6} {found.lower:6}"
            lines.append(f"{target:{first}}  {counts}  {found.p:10.4f}")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def summaries_json(groups: Mapping[str, Mapping[str, Mapping[str, Summary]]]) -> dict[str, Any]:
    """Plain values: group -> target -> measure -> the numbers of the summary."""
    return {group: _plain(summaries) for group, summaries in groups.items()}


def paired_json(compared: Mapping[str, Mapping[str, Paired]]) -> dict[str, Any]:
    """Plain values: target -> measure -> the numbers of the comparison."""
    return _plain(compared)


def _plain(found: Mapping[str, Mapping[str, Summary | Paired]]) -> dict[str, Any]:
    return {
        target: {measure: dataclasses.asdict(numbers) for measure, numbers in measures.items()}
        for target, measures in found.items()
    }


def _row_name(target: str, group: str, groups: Mapping[str, object]) -> str:
    return target if len(groups) == 1 else f"{target}, {group}"
