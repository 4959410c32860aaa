"""Dice against how much worse the images are, a panel a degradation."""

from __future__ import annotations

from matplotlib.figure import Figure

from ssa_fast.evaluate.chart import INK, LINES, MARKS, QUIET, new_figure
from ssa_fast.evaluate.degrade import DEGRADATIONS
from ssa_fast.evaluate.provenance import RESEARCH_ONLY
from ssa_fast.evaluate.stress import StressSheet
from ssa_fast.labels import REGIONS

__all__ = ["stress_figure"]

_COLUMNS = 3


def stress_figure(sheet: StressSheet) -> Figure:
    """Mean Dice over cases of WT, TC and ET (lines), and of each case (small markers), from severity 0 on."""
    names = sheet.severities
    rows = -(-len(names) // _COLUMNS)
    cases = len({one.case for one in sheet.strains})
    note = f"{RESEARCH_ONLY} Degradations are made up (seed {sheet.seed}) and stand for no scanner."
    figure = new_figure(f"Robustness: {cases} case{'s' * (cases != 1)} made worse", note, (13, 3.4 * rows + 1))
    for place, (name, severities) in enumerate(names.items()):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        axes.set_label(name)
        for region in REGIONS:
            mark = MARKS[region]
            means = [sheet.mean(name, severity, region) for severity in severities]
            axes.plot(
                *(severities, means),
                color=mark.color,
                linestyle=mark.dashes,
                marker=mark.marker,
                markeredgecolor=INK,
                markeredgewidth=0.6,
                label=region,
            )
            own = [(one.severity, one.dice[region]) for one in sheet.strains if one.degradation == name]
            across, up = zip(*own, strict=True)
            axes.scatter(across, up, s=9, marker=mark.marker, color=mark.color, alpha=0.6, linewidths=0)
        for value, dashes in LINES:
            axes.axhline(value, color=QUIET, linewidth=0.8, linestyle=dashes, zorder=0)
        axes.set_xticks(severities, [_tick(name, severity) for severity in severities], fontsize=8.5)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("Dice")
        axes.set_title(name, fontsize=11, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        if place == 0:
            axes.legend(frameon=False, fontsize=9, loc="lower left")
    return figure


def _tick(name: str, severity: int) -> str:
    return DEGRADATIONS[name].steps[severity].replace(" of the range", "")
