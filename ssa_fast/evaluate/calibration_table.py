"""Calibration as a table to read and as plain values to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssa_fast.evaluate.calibration import BINS, RULE, Calibration, Reliability
from ssa_fast.evaluate.report import aligned
from ssa_fast.metrics.overlap import TARGETS

__all__ = ["calibration_json", "calibration_rows", "calibration_text", "groups_rows"]

_FIRST = "probability"


def calibration_rows(found: Mapping[str, Reliability]) -> list[list[str]]:
    """A head, then a row a bin with the true share of each target, `-` where a bin is empty; last the ECE."""
    rows = [[_FIRST, *found]]
    for place in range(BINS):
        points = [its.curve[place] for its in found.values()]
        rows.append([_bin(place), *("-" if point is None else f"{point[1]:.3f}" for point in points)])
    return [*rows, ["ECE", *(_shown(its.ece) for its in found.values())]]


def groups_rows(calibration: Calibration, groups: Mapping[str, str]) -> list[list[str]]:
    """A head, then a row a group with its cases and the ECE of each target; `groups` is case -> group."""
    rows = [["ECE by group", "cases", *TARGETS]]
    for group, names in _grouped(calibration, groups).items():
        pooled = calibration.pooled(names)
        rows.append([group, str(len(names)), *(_shown(pooled[target].ece) for target in TARGETS)])
    return rows


def calibration_text(calibration: Calibration, groups: Mapping[str, str] | None = None) -> str:
    """The table of `calibration_rows` over all cases, that of `groups_rows`, and why cases are in neither."""
    parts = []
    pooled = calibration.pooled()
    if pooled:
        parts.append("\n".join([aligned(calibration_rows(pooled), rules=(1, 1 + BINS)), RULE]))
        if groups is not None:
            parts.append(aligned(groups_rows(calibration, groups), rules=(1,)))
    if calibration.failures:
        total = len(calibration.failures) + len(calibration.cases)
        lines = [f"Without a calibration: {len(calibration.failures)} of {total} cases"]
        parts.append("\n".join([*lines, *(f"  {reason}" for reason in calibration.failures.values())]))
    return "\n\n".join(parts)


def calibration_json(calibration: Calibration, groups: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Plain values (JSON types): `targets` pooled, `cases` and groups by their ECE, null where there are no voxels."""
    record: dict[str, Any] = {
        "rule": RULE,
        "bins": BINS,
        "targets": {target: _plain(its) for target, its in calibration.pooled().items()},
        "cases": {name: _eces(found) for name, found in calibration.cases.items()},
        "failures": dict(calibration.failures),
    }
    if groups is not None:
        parted = _grouped(calibration, groups)
        record["groups"] = {group: _eces(calibration.pooled(names)) for group, names in parted.items()}
    return record


def _plain(its: Reliability) -> dict[str, Any]:
    return {
        "ece": its.ece,
        "voxels": its.voxels.tolist(),
        "mean_probability": [None if point is None else point[0] for point in its.curve],
        "true_share": [None if point is None else point[1] for point in its.curve],
    }


def _eces(found: Mapping[str, Reliability]) -> dict[str, float | None]:
    return {target: its.ece for target, its in found.items()}


def _grouped(calibration: Calibration, groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Group -> its cases that have probabilities."""
    names = sorted({groups[name] for name in calibration.cases if name in groups})
    return {group: [name for name in calibration.cases if groups.get(name) == group] for group in names}


def _bin(place: int) -> str:
    return f"{place / BINS:.1f} to {(place + 1) / BINS:.1f}"


def _shown(ece: float | None) -> str:
    return "-" if ece is None else f"{ece:.4f}"
