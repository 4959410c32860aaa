"""A training run as two figures: its curves, and how it moved."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ssa_fast.evaluate.chart import INK, LINES, MARKS, QUIET, absent, new_figure, plain, write_lines
from ssa_fast.evaluate.provenance import RESEARCH_ONLY
from ssa_fast.evaluate.training_run import TrainingRun
from ssa_fast.labels import REGIONS
from ssa_fast.metrics.overlap import TARGETS

__all__ = ["LAST_EPOCHS", "training_curves", "training_dynamics"]

LAST_EPOCHS = 5
"""Epochs over which stability is looked at, at most."""

_SIZE = (13, 8.4)
_TRAINING, _HELD_OUT = "#0072B2", "#D55E00"
_LABELLED = 12  # slopes that still have room for their numbers
_MANY = 30  # epochs: more have no marker each


def training_curves(run: TrainingRun) -> Figure:
    """Loss, Dice of held-out cases, learning rate, and the run in words."""
    figure = new_figure(f"Training curves of {run.name}", RESEARCH_ONLY, _SIZE)
    panels = figure.subplot_mosaic([["loss", "dice"], ["rate", "summary"]])
    for name, axes in panels.items():
        axes.set_label(name)
    _draw_losses(panels["loss"], run)
    _draw_dice(panels["dice"], run)
    steps, rates = run.series("learning_rate")
    panels["rate"].plot(steps, rates, color=_TRAINING, marker=_marker(run, "o"), label="learning rate")
    panels["rate"].set_yscale("log")
    _dress(panels["rate"], "Learning rate of each epoch's last update", "learning rate")
    write_lines(panels["summary"], run.rows)
    return figure


def training_dynamics(run: TrainingRun) -> Figure:
    """Slope of the loss, gap between training and held-out loss, stability of the last epochs, norm of the gradient."""
    figure = new_figure(f"Training dynamics of {run.name}", RESEARCH_ONLY, _SIZE)
    panels = figure.subplot_mosaic([["slope", "gap"], ["stability", "gradient"]])
    for name, axes in panels.items():
        axes.set_label(name)
    _draw_slope(panels["slope"], run)
    _draw_gap(panels["gap"], run)
    _draw_stability(panels["stability"], run)
    steps, norms = run.series("gradient_norm")
    if norms:
        panels["gradient"].plot(steps, norms, color=_TRAINING, marker=_marker(run, "o"), label="gradient norm")
        panels["gradient"].set_ylim(bottom=0)
        _dress(panels["gradient"], "Norm of the gradient before clipping, mean of each epoch", "norm")
    else:
        absent(panels["gradient"], "norm of the gradient: not recorded by this run")
    return figure


def _draw_losses(axes: Axes, run: TrainingRun) -> None:
    axes.plot(*run.series("loss"), color=_TRAINING, marker=_marker(run, "o"), label="training")
    steps, losses = run.series("held_out", "loss")
    if losses:
        axes.plot(steps, losses, color=_HELD_OUT, linestyle=(0, (5, 2)), marker=_marker(run, "s"), label="held out")
    axes.legend(frameon=False)
    _dress(axes, "Loss, mean of each epoch", "loss")


def _draw_dice(axes: Axes, run: TrainingRun) -> None:
    if not run.scored:
        absent(axes, "Dice: no case was held out")
        return
    for target in TARGETS:
        mark = MARKS[target]
        own = {"color": mark.color, "linestyle": mark.dashes, "markeredgecolor": INK, "markeredgewidth": 0.6}
        axes.plot(*run.series("held_out", "dice", target), marker=_marker(run, mark.marker), label=target, **own)  # type: ignore[arg-type]
    for value, dashes in LINES:
        axes.axhline(value, color=QUIET, linewidth=1, linestyle=dashes, zorder=0)
    best = run.best
    assert best is not None  # some were scored
    axes.axvline(best["step"], color=QUIET, linewidth=1, zorder=0)
    axes.text(best["step"], 1.01, f"best: epoch {best['epoch']}", fontsize=8.5, ha="right", color=QUIET, **plain())
    axes.set_ylim(0, 1.06)
    axes.legend(frameon=False, ncols=5, loc="lower center", fontsize=9)
    _dress(axes, "Dice of held-out cases", "Dice")


def _draw_slope(axes: Axes, run: TrainingRun) -> None:
    steps, losses = (np.asarray(values, dtype=np.float64) for values in run.series("loss"))
    if len(steps) < 2:
        absent(axes, "slope of the loss: it takes two epochs")
        return
    slopes = 100 * np.diff(losses) / np.diff(steps)
    middles = (steps[1:] + steps[:-1]) / 2
    falling = slopes < 0
    width = 0.7 * np.diff(steps)
    for inside, color, hatch, words in ((falling, _TRAINING, None, "falls"), (~falling, _HELD_OUT, "///", "rises")):
        if inside.any():
            axes.bar(
                middles[inside], slopes[inside], width[inside], color=color, hatch=hatch, edgecolor=INK, label=words
            )
    if len(slopes) <= _LABELLED:
        for middle, slope in zip(middles, slopes, strict=True):
            axes.text(middle, slope, f"{slope:+.2g}", ha="center", va="bottom", fontsize=9, color=INK, **plain())
        axes.margins(y=0.15)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.legend(frameon=False)
    _dress(axes, "Change of the training loss for 100 updates", "change")


def _draw_gap(axes: Axes, run: TrainingRun) -> None:
    steps, held_out = run.series("held_out", "loss")
    if not held_out:
        absent(axes, "gap of the losses: not recorded,\nfor held-out cases are scored whole, by Dice, not by loss")
        return
    training = dict(zip(*run.series("loss"), strict=True))
    gaps = [loss - training[step] for step, loss in zip(steps, held_out, strict=True)]
    axes.plot(steps, gaps, color=_HELD_OUT, marker=_marker(run, "s"), label="gap")
    axes.axhline(0, color=INK, linewidth=0.8)
    _dress(axes, "Held-out loss less training loss", "gap")


def _draw_stability(axes: Axes, run: TrainingRun) -> None:
    last = run.scored[-LAST_EPOCHS:]
    if len(last) < 2:
        absent(axes, "stability: it takes two scored epochs")
        return
    for place, region in enumerate(REGIONS):
        values = [epoch["held_out"]["dice"][region] for epoch in last]
        mark = MARKS[region]
        mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
        axes.bar(place, mean, 0.6, color=mark.color, hatch=mark.hatch, edgecolor=INK, alpha=0.85)
        axes.errorbar(place, mean, yerr=deviation, color=INK, capsize=5, lw=1.4)
        axes.text(place, 1.02, f"{mean:.3f} ± {deviation:.3f}", ha="center", fontsize=9.5, color=INK, **plain())
    axes.set_xticks(range(len(REGIONS)), list(REGIONS))
    axes.set_ylim(0, 1.1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel("Dice")
    axes.set_title(f"The last {len(last)} scored epochs: mean, standard deviation", fontsize=11, loc="left")


def _dress(axes: Axes, title: str, up: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel("update")
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def _marker(run: TrainingRun, marker: str) -> str:
    return marker if len(run.epochs) <= _MANY else ""
