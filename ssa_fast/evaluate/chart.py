"""How charts look and are kept: colors that grey and color-blind eyes tell apart, each with a marker and a hatch."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ssa_fast.files import write_whole
from ssa_fast.labels import ED, ET, LABEL_COLORS, NCR

__all__ = ["INK", "LINES", "MARKS", "QUIET", "Mark", "absent", "new_figure", "plain", "save_figure", "write_lines"]

INK, QUIET, _PAPER = "#222222", "#666666", "#FFFFFF"
LINES = ((0.70, (0, (5, 2))), (0.80, (0, (1, 1.2))))
"""Dice that charts draw a line at, and its dashes: orientation for the eye, no limit that anything has passed."""

_DPI = 110
_VALUES_AT, _VALUE_LETTERS = 0.38, 38  # of a panel's width, where values begin; letters of a line of them
_FONT = "DejaVu Sans"  # matplotlib brings it: one picture on every machine


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How one target is drawn: by any one of the four it is known without the others."""

    color: str
    marker: str
    hatch: str
    dashes: tuple[float, tuple[float, ...]]  # as matplotlib takes them


MARKS: Mapping[str, Mark] = MappingProxyType(
    {
        "NCR": Mark(color=LABEL_COLORS[NCR], marker="v", hatch="///", dashes=(0, (1, 1.2))),
        "ED": Mark(color=LABEL_COLORS[ED], marker="s", hatch="...", dashes=(0, (5, 1.5, 1, 1.5))),
        "ET": Mark(color=LABEL_COLORS[ET], marker="o", hatch="", dashes=(0, (5, 2))),
        "WT": Mark(color="#0072B2", marker="D", hatch="xxx", dashes=(0, ())),
        "TC": Mark(color="#009E73", marker="^", hatch="\\\\\\", dashes=(0, (8, 2, 2, 2))),
    }
)
"""Target -> how it is drawn; colors of Okabe and Ito, those of the labels as in every picture."""


def new_figure(title: str, note: str, size: tuple[float, float]) -> Figure:
    """An empty figure of `size` inches, with a title above and a note below all panels."""
    figure = Figure(figsize=size, dpi=_DPI, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1), facecolor=_PAPER)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", fontsize=15, weight="bold", color=INK, **plain())
    figure.supxlabel(note, x=0.012, ha="left", fontsize=9, color=QUIET, **plain())
    return figure


def plain() -> dict[str, Any]:
    """What every text is written with: a name may hold dollars, which are no mathematics."""
    return {"family": _FONT, "parse_math": False}


def absent(axes: Axes, why: str) -> None:
    """Say in the panel's middle why there is nothing in it."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=QUIET, linewidth=0.5, linestyle=(0, (1, 3)))
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, fontsize=10, color=QUIET, **plain())


def write_lines(axes: Axes, rows: Sequence[tuple[str, str]]) -> None:
    """Names and their values as two columns of a panel that shows nothing else."""
    axes.set_axis_off()
    shown = [(name, textwrap.wrap(value, _VALUE_LETTERS) or [""]) for name, value in rows]
    step = min(0.085, 1 / max(sum(len(lines) for _, lines in shown), 1))
    top = 1.0
    for name, lines in shown:
        own = {"va": "top", "transform": axes.transAxes, "fontsize": 9.5, **plain()}
        axes.text(0, top, name, color=QUIET, **own)
        for line in lines:
            axes.text(_VALUES_AT, top, line, color=INK, **own)
            top -= step


def save_figure(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """`folder/name.png` and `.svg`, each written whole or not at all, and of equal figures equal bytes."""
    paths = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        content = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": name}):
            figure.savefig(content, format=kind, dpi=_DPI, facecolor=_PAPER, metadata=metadata)
        path = folder / f"{name}.{kind}"
        write_whole(path, content.getvalue())
        paths.append(path)
    return paths[0], paths[1]
