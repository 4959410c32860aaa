"""Nine looks at one evaluation: scores, volumes, distances, the worst case and the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from ssa_fast.evaluate.chart import INK, LINES, MARKS, QUIET, absent, new_figure, plain
from ssa_fast.evaluate.figures import Overlay, draw_panel
from ssa_fast.evaluate.provenance import RESEARCH_ONLY
from ssa_fast.evaluate.scores import CaseScores, Evaluation
from ssa_fast.labels import MODALITIES, REGIONS
from ssa_fast.metrics.lesion import PENALTY_MM
from ssa_fast.metrics.overlap import TARGETS

__all__ = ["nine_panels", "ranked"]

_Values: TypeAlias = npt.NDArray[np.float64]

_NAMED = 24  # cases in a ranking that still have room for a name
_NAME_LETTERS = 22
_SHOWN = "t2f"  # modality of the slices: oedema and core are both seen on it
_SIGMAS = 1.96  # limits of agreement hold 95 % of differences that are normal


def ranked(evaluation: Evaluation) -> list[CaseScores]:
    """The cases from the worst to the best by their mean Dice over WT, TC and ET; equal ones by name."""
    return sorted(evaluation.cases, key=lambda case: (_region_dice(case), case.name))


def _region_dice(case: CaseScores) -> float:
    """Mean Dice of WT, TC and ET."""
    return float(np.mean([case.value("dice", region) for region in REGIONS]))


def nine_panels(evaluation: Evaluation, slices: Mapping[str, Overlay]) -> Figure:
    """The figure; `slices` has the overlay of the worst case and of the best, by name, as far as they can be read.

    The profile must measure Dice, precision, recall and volumes: `overlap`, or `full`, which has distances too.
    Bland-Altman: Bland and Altman, Lancet 1986.
    """
    count = len(evaluation.cases)
    figure = new_figure(f"Evaluation of {count} cases", RESEARCH_ONLY, (15, 13.2))
    panels = [figure.add_subplot(3, 3, place + 1) for place in range(9)]
    names = ("dice", "volumes", "agreement", "distances", "pair", "size", "ranking", "worst", "best")
    for axes, name in zip(panels, names, strict=True):
        axes.set_label(name)
    if not count:
        for axes in panels:
            absent(axes, "no case was scored")
        return figure
    order = ranked(evaluation)
    _draw_dice(panels[0], evaluation)
    _draw_volumes(panels[1], evaluation)
    _draw_agreement(panels[2], evaluation)
    _draw_distances(panels[3], evaluation)
    _draw_pair(panels[4], evaluation)
    _draw_size(panels[5], evaluation)
    _draw_ranking(panels[6], order)
    _draw_slice(panels[7], "worst", order[0], slices)
    if count > 1:
        _draw_slice(panels[8], "best", order[-1], slices)
    else:
        absent(panels[8], "one case only:\nit is the worst and the best")
    return figure


def _draw_dice(axes: Axes, evaluation: Evaluation) -> None:
    values = [[case.value("dice", target) for case in evaluation.cases] for target in TARGETS]
    boxes = axes.boxplot(values, positions=range(len(TARGETS)), widths=0.6, patch_artist=True, showfliers=False)
    for patch, target in zip(boxes["boxes"], TARGETS, strict=True):
        patch.set(facecolor=MARKS[target].color, hatch=MARKS[target].hatch, alpha=0.75)
    for line in boxes["medians"]:
        line.set(color=INK, linewidth=2)
    _scatter_targets(axes, values)
    for value, dashes in LINES:
        axes.axhline(value, color=QUIET, linewidth=1, linestyle=dashes, zorder=0)
    axes.set_xticks(range(len(TARGETS)), list(TARGETS))
    axes.set_ylim(-0.02, 1.02)
    _dress(axes, "Dice: quartiles, median, each case", "", "Dice")


def _draw_volumes(axes: Axes, evaluation: Evaluation) -> None:
    top = 1.0
    for region in REGIONS:
        pairs = _volumes(evaluation, region)
        _points(axes, region, pairs[:, 0], pairs[:, 1])
        top = max(top, float(pairs.max()) * 1.3)
    axes.plot([0, top], [0, top], color=QUIET, linewidth=1, zorder=0)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlim=(-0.05, top), ylim=(-0.05, top))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(LogFormatter())
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    _dress(axes, "Volumes: on the line they are equal", "reference, ml", "predicted, ml")


def _draw_agreement(axes: Axes, evaluation: Evaluation) -> None:
    for region in REGIONS:
        pairs = _volumes(evaluation, region)
        _points(axes, region, pairs.mean(axis=1), pairs[:, 1] - pairs[:, 0])
    differences = np.diff(_volumes(evaluation, "WT"), axis=1)[:, 0]
    bias = float(differences.mean())
    axes.axhline(0, color=QUIET, linewidth=0.8, zorder=0)
    axes.axhline(bias, color=MARKS["WT"].color, linewidth=1.4)
    said = f"WT: mean {bias:+.1f} ml"
    if len(differences) > 1:
        reach = _SIGMAS * float(differences.std(ddof=1))
        for limit in (bias - reach, bias + reach):
            axes.axhline(limit, color=MARKS["WT"].color, linewidth=1, linestyle=(0, (5, 2)))
        said += f", limits {bias - reach:+.1f} to {bias + reach:+.1f} ml"
    axes.margins(y=0.2)
    _dress(axes, f"Bland-Altman\n{said}", "mean of reference and prediction, ml", "predicted - reference, ml")


def _draw_distances(axes: Axes, evaluation: Evaluation) -> None:
    if "hd95_mm" not in evaluation.profile.measures:
        absent(axes, "distances were not measured:\n--metrics full measures them")
        return
    for place, target in enumerate(TARGETS):
        mark = MARKS[target]
        for side, measure in ((-0.17, "hd95_mm"), (0.17, "asd_mm")):
            values = [case.value(measure, target) for case in evaluation.cases]
            face = mark.color if measure == "hd95_mm" else "white"
            sides = [place + side] * len(values)
            axes.scatter(sides, values, s=42, marker=mark.marker, facecolor=face, edgecolors=INK, lw=0.9)
    axes.axhline(PENALTY_MM, color=QUIET, linewidth=1, linestyle=(0, (1, 1.2)))
    axes.text(-0.55, PENALTY_MM * 0.94, "one side is empty", fontsize=8.5, va="top", color=QUIET, **plain())
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlim=(-0.6, len(TARGETS) - 0.4), ylim=(0, PENALTY_MM * 1.3))
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.set_xticks(range(len(TARGETS)), list(TARGETS))
    _dress(axes, "Surfaces: HD95 (filled), mean distance (open)", "", "mm")


def _draw_pair(axes: Axes, evaluation: Evaluation) -> None:
    for target in TARGETS:
        across = np.array([case.value("recall", target) for case in evaluation.cases])
        up = np.array([case.value("precision", target) for case in evaluation.cases])
        _points(axes, target, across, up)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    _dress(axes, "Right: little missed. Top: little too much", "recall", "precision")


def _draw_size(axes: Axes, evaluation: Evaluation) -> None:
    for region in REGIONS:
        sizes = _volumes(evaluation, region)[:, 0]
        dice = np.array([case.value("dice", region) for case in evaluation.cases])
        _points(axes, region, sizes, dice)
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter(LogFormatter())
    axes.set_xlim(left=-0.05)
    axes.set_ylim(-0.02, 1.02)
    _dress(axes, "Dice by the size of the region", "reference, ml", "Dice")


def _draw_ranking(axes: Axes, order: Sequence[CaseScores]) -> None:
    is_named = len(order) <= _NAMED
    for place, case in enumerate(order):
        values = [case.value("dice", region) for region in REGIONS]
        axes.plot([min(values), max(values)], [place, place], color=QUIET, linewidth=1.5, zorder=0)
        if is_named:
            axes.text(0.01, place - 0.18, _named(case), fontsize=9, va="bottom", color=INK, **plain())
    for region in REGIONS:
        axes.scatter(
            *([case.value("dice", region) for case in order], range(len(order))),
            s=44,
            marker=MARKS[region].marker,
            color=MARKS[region].color,
            edgecolors=INK,
            linewidths=0.7,
            label=region,
        )
    axes.set_ylim(max(len(order), 3) - 0.4, -0.8)
    axes.set_xlim(-0.02, 1.02)
    axes.set_yticks([])
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower left")
    _dress(axes, "Cases, the worst on top", "Dice", "")


def _draw_slice(axes: Axes, what: str, case: CaseScores, slices: Mapping[str, Overlay]) -> None:
    overlay = slices.get(case.name)
    if overlay is None:
        absent(axes, f"{what} case {_named(case)}:\nits images cannot be read or drawn")
        return
    image, labels = overlay.images[MODALITIES.index(_SHOWN)], overlay.labels
    draw_panel(axes, image, labels["prediction"], labels["reference"])
    said = f"{what}: {_named(case)}, mean Dice {_region_dice(case):.3f}"
    axes.set_title(f"{said}\n{_SHOWN}; lines the prediction, dotted the reference", fontsize=10, loc="left", **plain())


def _named(case: CaseScores) -> str:
    return case.name if len(case.name) <= _NAME_LETTERS else f"{case.name[: _NAME_LETTERS - 1]}…"


def _volumes(evaluation: Evaluation, region: str) -> _Values:
    """(cases, 2): reference and predicted ml."""
    return np.array(
        [[case.value(name, region) for name in ("reference_ml", "predicted_ml")] for case in evaluation.cases]
    )


def _points(axes: Axes, target: str, across: _Values, up: _Values) -> None:
    mark = MARKS[target]
    axes.scatter(across, up, s=44, marker=mark.marker, color=mark.color, edgecolors=INK, lw=0.7, label=target)


def _scatter_targets(axes: Axes, values: Sequence[Sequence[float]]) -> None:
    rng = np.random.default_rng(0)
    for place, (target, own) in enumerate(zip(TARGETS, values, strict=True)):
        sides = place + rng.uniform(-0.18, 0.18, len(own))
        axes.scatter(sides, own, s=24, marker=MARKS[target].marker, color="white", edgecolors=INK, lw=0.8, zorder=3)


def _dress(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
