"""One case on one page: a slice, the area of each label from slice to slice, and its tumour in numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ssa_fast.evaluate.anatomy import Anatomy, Shape
from ssa_fast.evaluate.chart import INK, MARKS, QUIET, new_figure, plain
from ssa_fast.evaluate.provenance import RESEARCH_ONLY
from ssa_fast.labels import LABEL_NAMES, REGIONS

__all__ = ["case_figure"]

_HEADS = (
    *("", "volume\nml", "surface\ncm²", "extent L-R, P-A, I-S\nmm", "centroid R, A, S\nmm"),
    *("lesions", "side", "left of\nmiddle"),
)


def case_figure(name: str, found: Mapping[str, Anatomy]) -> Figure:
    """Area of each label along the axis, predicted and in the reference, above a table of both in space."""
    note = f"{RESEARCH_ONLY} Middle: that of the brain's box, so a turned head moves it. Lesions: parts above 50 mm³."
    figure = new_figure(f"Case {name}", note, (13, 9))
    grid = figure.add_gridspec(2, len(LABEL_NAMES), height_ratios=[1, 0.95])
    used = np.flatnonzero(np.sum([area for one in found.values() for area in one.areas_mm2.values()], axis=0))
    first, last = (int(used[0]), int(used[-1])) if used.size else (0, 1)
    for place, label in enumerate(LABEL_NAMES.values()):
        axes = figure.add_subplot(grid[0, place])
        axes.set_label(f"area {label}")
        _draw_areas(axes, label, found, (first, last))
    axes = figure.add_subplot(grid[1, :])
    axes.set_label("table")
    _draw_table(axes, found)
    return figure


def _draw_areas(axes: Axes, label: str, found: Mapping[str, Anatomy], ends: tuple[int, int]) -> None:
    mark = MARKS[label]
    slices = np.arange(ends[0], ends[1] + 1)
    for which, one in found.items():
        area = one.areas_mm2[label][slices] / 100
        if which == "prediction":
            axes.plot(slices + 1, area, color=INK, linewidth=1.6, linestyle=(0, (5, 2)), label=which)
        else:
            axes.fill_between(slices + 1, area, color=mark.color, hatch=mark.hatch, edgecolor=QUIET, lw=0, label=which)
    axes.set_title(f"{label}: area in each axial slice", fontsize=11, loc="left")
    axes.set_xlabel("slice, counted from below")
    axes.set_ylabel("cm²")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def _draw_table(axes: Axes, found: Mapping[str, Anatomy]) -> None:
    axes.set_axis_off()
    rows = []
    for target in [*LABEL_NAMES.values(), *(region for region in REGIONS if region not in LABEL_NAMES.values())]:
        rows += [[f"{target}  {which}", *_cells(one.shapes[target])] for which, one in found.items()]
    widths = [0.17, 0.09, 0.09, 0.2, 0.2, 0.08, 0.08, 0.09]
    whole = Bbox.unit()
    table = axes.table(rows, colLabels=_HEADS, colWidths=widths, bbox=whole, cellLoc="center", edges="horizontal")
    table.auto_set_font_size(False)
    for (row, column), cell in table.get_celld().items():
        cell.set_linewidth(0.4)
        side = "left" if column == 0 else "center"
        cell.get_text().set(fontsize=9, color=QUIET if row == 0 else INK, ha=side, **plain())


def _cells(shape: Shape | None) -> list[str]:
    if shape is None:
        return ["0", *["-"] * 6]
    return [
        f"{shape.volume_ml:.1f}",
        f"{shape.surface_mm2 / 100:.1f}",
        " x ".join(f"{edge:.0f}" for edge in shape.box_mm),
        ", ".join(f"{place:.0f}" for place in shape.centroid_mm),
        str(shape.lesions),
        shape.side,
        f"{shape.left_share:.0%}",
    ]
