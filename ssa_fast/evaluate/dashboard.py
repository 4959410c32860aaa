"""How well a network did, on one page: scores with their intervals, what is taken for what, and what network it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssa_fast.evaluate.chart import INK, LINES, MARKS, QUIET, absent, new_figure, plain, write_lines
from ssa_fast.evaluate.provenance import RESEARCH_ONLY, Provenance
from ssa_fast.evaluate.scores import Evaluation
from ssa_fast.evaluate.statistics import summarize
from ssa_fast.labels import LABEL_NAMES
from ssa_fast.metrics.overlap import TARGETS

__all__ = ["dashboard"]

_FEW = 10  # cases: of fewer, an interval of a bootstrap is too narrow by far
_DARK = 0.55  # share above which numbers on the panel are white


def dashboard(evaluation: Evaluation, source: Provenance) -> Figure:
    """Dice with intervals, precision and recall, voxels of each label, and the facts of the network.

    The profile must measure Dice, precision and recall of all targets: `overlap` or `full`.
    """
    count = len(evaluation.cases)
    caution = f" Intervals of so few cases are too narrow: {count}." if 0 < count < _FEW else ""
    note = f"{RESEARCH_ONLY} Lines at Dice 0.70 and 0.80 guide the eye, no more.{caution}"
    figure = new_figure(f"Performance on {count} cases", note, (13, 8.2))
    panels = figure.subplot_mosaic(
        [["dice", "dice", "confusion"], ["pair", "pair", "facts"]], gridspec_kw={"height_ratios": [1.15, 1]}
    )
    for name, axes in panels.items():
        axes.set_label(name)
    if count:
        _draw_dice(panels["dice"], evaluation)
        _draw_pair(panels["pair"], evaluation)
        _draw_confusion(panels["confusion"], evaluation)
    else:
        for name in ("dice", "pair", "confusion"):
            absent(panels[name], "no case was scored")
    write_lines(panels["facts"], [("cases scored", str(count)), *source.rows])
    return figure


def _draw_dice(axes: Axes, evaluation: Evaluation) -> None:
    summaries = summarize(evaluation)
    rng = np.random.default_rng(0)
    for place, target in enumerate(TARGETS):
        mark, summary = MARKS[target], summaries[target]["dice"]
        axes.bar(
            place, summary.mean, 0.62, color=mark.color, hatch=mark.hatch, edgecolor=INK, linewidth=0.8, alpha=0.85
        )
        spread = [[summary.mean - summary.low], [summary.high - summary.mean]]
        axes.errorbar(place + 0.38, summary.mean, yerr=spread, color=INK, capsize=4, lw=1.4, marker="_")
        values = [case.value("dice", target) for case in evaluation.cases]
        sides = place + rng.uniform(-0.2, 0.2, len(values))
        axes.scatter(sides, values, s=26, marker=mark.marker, color="white", edgecolors=INK, linewidths=0.9, zorder=3)
        axes.text(place, 1.055, f"{summary.mean:.3f}", ha="center", fontsize=11, weight="bold", color=INK, **plain())
        interval = f"{summary.low:.3f} to {summary.high:.3f}"
        axes.text(place, 1.005, interval, ha="center", fontsize=8, color=QUIET, **plain())
    for value, dashes in LINES:
        axes.axhline(value, color=QUIET, linewidth=1, linestyle=dashes, zorder=0)
        axes.text(len(TARGETS) - 0.42, value, f"{value:.2f}", fontsize=8, va="bottom", color=QUIET, **plain())
    _name_targets(axes, list(TARGETS))
    axes.set(ylim=(0, 1.12), xlim=(-0.6, len(TARGETS) - 0.15), ylabel="Dice", yticks=np.arange(0, 1.01, 0.2))
    axes.set_title("Dice: mean (bar), 95 % interval (line), each case (marker)", fontsize=11, loc="left")


def _draw_pair(axes: Axes, evaluation: Evaluation) -> None:
    for place, target in enumerate(TARGETS):
        mark = MARKS[target]
        for side, measure in ((-0.2, "precision"), (0.2, "recall")):
            mean = evaluation.mean(measure, target)
            is_first = measure == "precision"
            axes.bar(
                *(place + side, mean, 0.38),
                color=mark.color if is_first else "white",
                hatch=None if is_first else mark.hatch or "--",
                edgecolor=INK,
                linewidth=0.8,
            )
            axes.text(place + side, mean + 0.015, f"{mean:.2f}", ha="center", fontsize=8.5, color=INK, **plain())
    _name_targets(axes, list(TARGETS))
    axes.set(ylim=(0, 1.1), xlim=(-0.6, len(TARGETS) - 0.15), ylabel="mean", yticks=np.arange(0, 1.01, 0.2))
    axes.set_title("Precision (filled) and recall (hatched), mean over cases", fontsize=11, loc="left")


def _draw_confusion(axes: Axes, evaluation: Evaluation) -> None:
    counts = np.sum([case.confusion for case in evaluation.cases], axis=0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    for row in range(len(counts)):
        for column in range(len(counts)):
            color = "white" if shares[row, column] > _DARK else INK
            said = f"{shares[row, column]:.1%}\n{_short(int(counts[row, column]))}"
            axes.text(column, row, said, ha="center", va="center", fontsize=9, color=color, **plain())
    names = ["none", *LABEL_NAMES.values()]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="label predicted", ylabel="label of the reference")
    axes.set_title("Voxels, share of each row", fontsize=11, loc="left")


def _name_targets(axes: Axes, targets: Sequence[str]) -> None:
    axes.set_xticks(range(len(targets)), targets)
    axes.spines[["top", "right"]].set_visible(False)


def _short(count: int) -> str:
    """A count in four letters or so: 950, 12k, 3.4M."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"
