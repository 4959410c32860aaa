"""Two predictions of the same cases, a point a case."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.scores import Evaluation
from ssa_fast.files import write_whole
from ssa_fast.metrics.profiles import MEASURES

__all__ = ["draw_scatter", "scatter_figure"]

_DPI = 110
_PANEL = 3.2  # inches
_INK, _LINE = "#0072B2", "#7F7F7F"


def draw_scatter(evaluation: Evaluation, other: Evaluation, names: tuple[str, str], out: Path) -> Path:
    """`out`, written as a PNG of `scatter_figure`: whole or not at all."""
    content = io.BytesIO()
    scatter_figure(evaluation, other, names).savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    write_whole(out, content.getvalue())
    return out


def scatter_figure(evaluation: Evaluation, other: Evaluation, names: tuple[str, str]) -> Figure:
    """A panel a target (column) and headline of the profile (row): the other's value across, the first's up.

    `names` are those of the first and of the other; above the line the first's value is the higher.
    Raises CaseError if no case was scored in both.
    """
    others = {case.name: case for case in other.cases}
    pairs = [(case, others[case.name]) for case in evaluation.cases if case.name in others]
    if not pairs:
        raise CaseError("no case was scored in both folders of predictions, so there is nothing to draw")
    profile = evaluation.profile
    rows, columns = len(profile.headline), len(profile.targets)
    figure = Figure(figsize=(_PANEL * columns, _PANEL * rows), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for row, measure in enumerate(profile.headline):
        for column, target in enumerate(profile.targets):
            axes = figure.add_subplot(rows, columns, row * columns + column + 1)
            up = [case.value(measure, target) for case, _ in pairs]
            across = [case.value(measure, target) for _, case in pairs]
            low, high = float(np.min([up, across])), float(np.max([up, across]))
            margin = 0.05 * (high - low) or 0.05
            ends = (low - margin, high + margin)
            axes.plot(ends, ends, color=_LINE, linewidth=0.8)
            axes.scatter(across, up, s=18, color=_INK, alpha=0.7, linewidths=0)
            axes.set(xlim=ends, ylim=ends, aspect="equal", title=f"{target}  {MEASURES[measure].heading}")
            axes.set_xlabel(names[1], parse_math=False)
            axes.set_ylabel(names[0], parse_math=False)
    return figure
