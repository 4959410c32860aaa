"""Reliability of probabilities as curves, a panel a target, over how many voxels had which."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssa_fast.evaluate.calibration import BINS, Calibration, Reliability
from ssa_fast.evaluate.chart import INK, MARKS, QUIET, absent, new_figure, plain
from ssa_fast.evaluate.provenance import RESEARCH_ONLY
from ssa_fast.metrics.overlap import TARGETS

__all__ = ["calibration_figure"]

_NOTE = "Below the dashed line probabilities claim too much, above it too little. Grey: each case."


def calibration_figure(calibration: Calibration) -> Figure:
    """For each target the curve of all cases together and, pale, of each; below, the share of voxels in each bin."""
    count = len(calibration.cases)
    title = f"Calibration of the probabilities of {count} case{'s' * (count != 1)}"
    figure = new_figure(title, f"{RESEARCH_ONLY} {_NOTE}", (15, 6))
    panels = figure.subplots(2, len(TARGETS), sharex=True, gridspec_kw={"height_ratios": [2.4, 1]})
    pooled = calibration.pooled()
    for place, target in enumerate(TARGETS):
        top, bottom = panels[:, place]
        top.set_label(f"curve {target}")
        bottom.set_label(f"voxels {target}")
        if target not in pooled or pooled[target].ece is None:
            absent(top, "no voxels")
            absent(bottom, "")
            continue
        _draw_curve(top, target, pooled[target], [found[target] for found in calibration.cases.values()])
        _draw_voxels(bottom, target, pooled[target])
    panels[0, 0].set_ylabel("share that it is true of")
    panels[1, 0].set_ylabel("share of voxels")
    return figure


def _draw_curve(axes: Axes, target: str, pooled: Reliability, cases: list[Reliability]) -> None:
    mark = MARKS[target]
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (5, 2)), zorder=0)
    for one in cases if len(cases) > 1 else []:
        axes.plot(*_points(one), color=QUIET, linewidth=0.7, alpha=0.6, zorder=1)
    [line] = axes.plot(*_points(pooled), color=mark.color, linewidth=2, marker=mark.marker, label=target)
    line.set(markeredgecolor=INK, markersize=7, clip_on=False)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_title(f"{target}   ECE {pooled.ece:.4f}", fontsize=11, loc="left", **plain())
    axes.spines[["top", "right"]].set_visible(False)


def _draw_voxels(axes: Axes, target: str, pooled: Reliability) -> None:
    middles = (np.arange(BINS) + 0.5) / BINS
    shares = pooled.voxels / pooled.voxels.sum()
    mark = MARKS[target]
    axes.bar(middles, shares, 0.9 / BINS, color=mark.color, hatch=mark.hatch, edgecolor=INK, linewidth=0.6)
    axes.set_yscale("log")
    axes.set(ylim=(1e-5, 1.5), yticks=[1e-4, 1e-2, 1])
    axes.set_yticklabels(["0.01 %", "1 %", "100 %"])
    axes.minorticks_off()
    axes.set_xlabel("probability")
    axes.spines[["top", "right"]].set_visible(False)


def _points(its: Reliability) -> tuple[list[float], list[float]]:
    there = [point for point in its.curve if point is not None]
    return [across for across, _ in there], [up for _, up in there]
