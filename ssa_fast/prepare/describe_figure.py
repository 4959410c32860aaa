"""A data set on one page: every case a row, its tumour and its intensities beside its name."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ssa_fast.files import write_whole
from ssa_fast.labels import LABEL_COLORS, LABEL_NAMES, LABEL_TITLES, MODALITIES, MODALITY_TITLES
from ssa_fast.prepare.describe import CaseFacts, DataSet

__all__ = ["description_figure", "draw_description"]

_INK, _QUIET, _LINE, _ALARM, _PAPER = "#222222", "#666666", "#3B6EA8", "#B00020", "#FFFFFF"
_FONT = "DejaVu Sans"  # matplotlib brings it: one picture on every machine
_DPI = 110
_WIDTH, _LEFT, _RIGHT, _GAP = 14.0, 2.3, 0.25, 0.16  # inches
_HEADER, _AXIS, _NOTE = 1.55, 0.62, 0.24
_BARS, _STRIP = 3.7, 1.0  # widths of the panels, in shares
_ROW = (0.24, 0.075)  # inches a case: for few, and for hundreds
_NAMED = 120  # cases: more have rows too thin for a name
_NOTES = 14  # lines at the bottom; the JSON has all
_NAME_LETTERS, _NOTE_LETTERS = 22, 170
_UNLIKE = 5  # times the least median: more, and the weakest scanner would be a dot on a linear axis


def draw_description(data: DataSet, out: Path) -> Path:
    """`out`, written as a PNG of `description_figure`: whole or not at all, and equal bytes for equal data."""
    content = io.BytesIO()
    description_figure(data).savefig(content, format="png", dpi=_DPI, facecolor=_PAPER, metadata={"Software": None})
    write_whole(out, content.getvalue())
    return out


def description_figure(data: DataSet) -> Figure:
    """A row a case, the largest tumour on top: volumes of its labels, then each modality's range over the brain.

    Ranges are from the 1st to the 99th percentile with the median as a dot, in the units of the files. Cases that
    look wrong have their names in red, and a line at the bottom.
    """
    cases = sorted(data.cases, key=lambda case: (-_tumor_ml(case), case.name))
    notes = _notes(data)
    row = _ROW[0] if len(cases) <= _NAMED else _ROW[1]
    rows = max(len(cases), 4) * row
    page = _HEADER + rows + _AXIS + _NOTE * (len(notes) + 1)
    figure = Figure(figsize=(_WIDTH, page), dpi=_DPI, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    unit = (_WIDTH - _LEFT - _RIGHT - len(MODALITIES) * _GAP) / (_BARS + len(MODALITIES) * _STRIP)
    bottom = (_AXIS + _NOTE * (len(notes) + 1)) / page
    left = _LEFT
    panels = []
    for width in (_BARS, *[_STRIP] * len(MODALITIES)):
        axes = figure.add_axes((left / _WIDTH, bottom, width * unit / _WIDTH, rows / page))
        axes.set_ylim(max(len(cases), 4) - 0.5, -0.5)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(colors=_QUIET, labelsize=8, left=False, labelleft=False)
        panels.append(axes)
        left += width * unit + _GAP
    _draw_tumors(panels[0], cases)
    _write_names(panels[0], cases, {name for repeat in data.repeats for name in repeat.cases})
    for axes, modality in zip(panels[1:], MODALITIES, strict=True):
        _draw_ranges(axes, cases, modality)
    _write_header(figure, data)
    for place, (line, color) in enumerate(reversed(notes)):
        figure.text(0.25 / _WIDTH, _NOTE * (place + 0.7) / page, line, fontsize=9, color=color, **_text())
    return figure


def _draw_tumors(axes: Axes, cases: Sequence[CaseFacts]) -> None:
    start = [0.0] * len(cases)
    for label, color in LABEL_COLORS.items():
        name = LABEL_NAMES[label]
        volumes = [(case.label_ml or {}).get(name, 0.0) for case in cases]
        axes.barh(range(len(cases)), volumes, 0.72, start, color=color, label=f"{name}  {LABEL_TITLES[label]}")
        start = [low + volume for low, volume in zip(start, volumes, strict=True)]
    limit = max([*start, 1.0]) * 1.12
    axes.set_xlim(0, limit)
    if len(cases) <= _NAMED:
        for place, (case, total) in enumerate(zip(cases, start, strict=True)):
            said = f"{total:.0f}" if case.label_ml is not None else "no reference"
            axes.text(total + limit * 0.008, place, said, fontsize=8, va="center", color=_QUIET, **_text())
    axes.set_xlabel("tumour, ml", fontsize=9, color=_INK)
    if any(case.label_ml for case in cases):
        font = {"family": _FONT, "size": 9}
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=3, frameon=False, prop=font, labelcolor=_INK)


def _write_names(axes: Axes, cases: Sequence[CaseFacts], repeated: set[str]) -> None:
    if len(cases) > _NAMED:
        return
    for place, case in enumerate(cases):
        name = case.name if len(case.name) <= _NAME_LETTERS else f"{case.name[: _NAME_LETTERS - 1]}…"
        color = _ALARM if case.swap is not None or case.name in repeated else _INK
        frame: Any = axes.get_yaxis_transform()
        axes.text(-0.012, place, name, fontsize=8.5, ha="right", va="center", color=color, transform=frame, **_text())


def _draw_ranges(axes: Axes, cases: Sequence[CaseFacts], modality: str) -> None:
    values = [case.intensities[modality] for case in cases]
    color = [_ALARM if case.swap is not None else _LINE for case in cases]
    axes.hlines(range(len(cases)), [own.p1 for own in values], [own.p99 for own in values], color, alpha=0.45, lw=2.5)
    axes.scatter([own.median for own in values], range(len(cases)), s=14, c=color, zorder=3, linewidths=0)
    axes.axvline(0, color=_QUIET, lw=0.6, zorder=0)
    axes.set_title(f"{MODALITY_TITLES[modality]} ({modality})", fontsize=9.5, color=_INK, pad=6)
    middles = [own.median for own in values]
    if middles and max(middles) > _UNLIKE * abs(min(middles, key=abs)):
        axes.set_xscale("symlog", linthresh=100, linscale=0.5)  # linear about zero: intensities may be negative
        axes.tick_params(which="minor", bottom=False)
        axes.set_xlim(left=min(0, *(own.p1 for own in values)))
    else:
        axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}")
    if modality == MODALITIES[0]:
        axes.set_xlabel("intensity over the brain: percentiles 1 to 99, median", fontsize=9, color=_INK, loc="left")


def _write_header(figure: Figure, data: DataSet) -> None:
    page = figure.get_figheight()

    def write(line: str, down: float, size: float, **more: Any) -> None:
        figure.text(0.25 / _WIDTH, 1 - down / page, line, fontsize=size, **{"color": _INK, **_text(), **more})

    write(f"{len(data.cases)} cases, {len(data.labelled)} with a reference", 0.42, 16, weight="bold")
    common = [
        f"{title} {', '.join(f'{value} ({count})' for value, count in list(data.counts(fact).items())[:3])}"
        for title, fact in (("shape", "shape"), ("mm", "spacing_mm"), ("axes", "orientation"))
    ]
    write("   ".join(common), 0.72, 10, color=_QUIET)
    balance = data.balance()
    if balance:
        shares = ", ".join(
            f"{name} {balance[name]['of_tumor']:.0%} of the tumour (absent in {balance[name]['cases_without']:g} cases)"
            for name in LABEL_NAMES.values()
        )
        tumor = 1 - balance["background"]["of_brain"]
        write(f"tumour is {tumor:.1%} of the brain; {shares}", 0.98, 10, color=_QUIET)


def _notes(data: DataSet) -> list[tuple[str, str]]:
    """Lines for the bottom of the page, each with its colour."""
    lines = []
    for repeat in data.repeats:
        how = f"brains correlate by {repeat.correlation:.2f}" + (", one number" if repeat.same_name else "")
        lines.append(f"one patient?  {' and '.join(repeat.cases)}: {how}")
    for case in data.cases:
        if case.swap is not None:
            mends = " or ".join(f"{one} and {other}" for one, other in case.swap.mends) or "modalities"
            lines.append(f"swapped?  {case.name}: {mends}; {'; '.join(case.swap.broken)}")
    lines += [f"not read:  {problem.case}: {problem.file} {problem.seen}" for problem in data.problems]
    if len(lines) > _NOTES:
        lines = [*lines[: _NOTES - 1], f"and {len(lines) - _NOTES + 1} more lines of this kind in the JSON"]
    if not lines:
        return [("no suspected repeat patient, no suspected swap of modalities, no file with a problem", _QUIET)]
    return [(line if len(line) <= _NOTE_LETTERS else f"{line[: _NOTE_LETTERS - 1]}…", _ALARM) for line in lines]


def _tumor_ml(case: CaseFacts) -> float:
    return (case.region_ml or {}).get("WT", 0.0)


def _text() -> dict[str, Any]:
    return {"family": _FONT, "parse_math": False}  # a name may hold dollars
