"""The ladder as a figure: seconds and memory of each rung, what was kept and what was not.

python -m benchmarks.ladder_figure benchmarks/results/0.1.0     # draws ladder-*.png and .svg from ladder-*.json
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.quiet import MOST_FOREIGN
from benchmarks.records import NEWEST, read_record
from ssa_fast.evaluate.chart import INK, QUIET, new_figure, plain, save_figure

__all__ = ["dice_words", "draw_ladder", "main"]

_KEPT, _DROPPED = "#0072B2", "#E69F00"  # of Okabe and Ito; a hatch tells them apart in grey
_HATCH = "////"
_BAR = 0.62


def draw_ladder(record: Mapping[str, Any]) -> Figure:
    """Two panels with a row a rung: seconds, by a logarithmic scale, and peak memory."""
    rungs = record["rungs"]
    climbed = [name for name, row in rungs.items() if row["is_kept"]]
    order = [*climbed, *(name for name in rungs if name not in climbed)]
    shape = " x ".join(map(str, record["input"][2:]))
    machine = record["machine"]
    busy = (
        ""
        if (record["foreign_share"] or 0) <= MOST_FOREIGN
        else f"; others took {record['foreign_share']:.0%} of the time"
    )
    note = (
        f"{machine['cpu']}, {machine['threads']} threads, commit {record['commit']}{busy}. Each rung changes one thing "
        "of the rung in brackets; Dice: largest change of WT, TC, ET from the first rung."
    )
    figure = new_figure(
        f"The ladder: {record['network']}, one brain of {shape} voxels", note, (13, 0.42 * len(order) + 2)
    )
    seconds, memory = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    for place, name in enumerate(order):
        _bar(seconds, place, rungs[name]["seconds"], is_kept=rungs[name]["is_kept"])
        _bar(memory, place, rungs[name]["peak_bytes"] / 1e9, is_kept=rungs[name]["is_kept"])
        seconds.text(
            rungs[name]["seconds"] * 1.08, place, _words(rungs[name]), va="center", fontsize=8.5, color=INK, **plain()
        )
        memory.text(
            rungs[name]["peak_bytes"] / 1e9,
            place,
            f" {rungs[name]['peak_bytes'] / 1e9:.2f}",
            va="center",
            fontsize=8.5,
            color=INK,
            **plain(),
        )
    most = max(row["seconds"] for row in rungs.values())
    seconds.set(xscale="log", xlim=(min(row["seconds"] for row in rungs.values()) / 1.6, most * 8))
    seconds.set_yticks(range(len(order)), [_label(name, rungs[name]) for name in order], fontsize=9, **_font())
    seconds.invert_yaxis()
    seconds.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    seconds.set_xlabel(
        "seconds from the normalized brain to its labels (logarithmic)", fontsize=9, color=INK, **plain()
    )
    memory.set_xlabel("peak memory of the process, GB", fontsize=9, color=INK, **plain())
    memory.set_xlim(0, max(row["peak_bytes"] for row in rungs.values()) / 1e9 * 1.3)
    for axes in (seconds, memory):
        axes.spines[["top", "right"]].set_visible(False)
        axes.axhline(len(climbed) - 0.5, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    handles = [_handle(seconds, is_kept=True), _handle(seconds, is_kept=False)]
    seconds.legend(handles, ["kept", "dropped, or not the default"], loc="lower right", fontsize=9, frameon=False)
    return figure


def dice_words(row: Mapping[str, Any]) -> str:
    """The largest change of a region's Dice, with its sign; nothing where no segmentation was there."""
    changes = row["dice_change"].values()
    return f"{max(changes, key=abs):+.4f}" if changes else ""


def _words(row: Mapping[str, Any]) -> str:
    gain = row["times_as_fast_as_below"]
    words = f"{row['seconds']:.2f} s" if row["seconds"] >= 0.1 else f"{1e3 * row['seconds']:.0f} ms"
    if gain is not None:
        words += f", x {gain['median']:.2f}"
    dice = dice_words(row)
    return f"{words}, Dice {dice}" if dice and row["on"] else words


def _label(name: str, row: Mapping[str, Any]) -> str:
    return f"{name}  ({row['on'] or 'first'})"


def _bar(axes: Axes, place: int, value: float, *, is_kept: bool) -> None:
    axes.barh(
        place,
        value,
        height=_BAR,
        color=_KEPT if is_kept else _DROPPED,
        edgecolor="white",
        hatch=None if is_kept else _HATCH,
    )


def _handle(axes: Axes, *, is_kept: bool) -> Any:
    [bar] = axes.barh(
        [0], [0], color=_KEPT if is_kept else _DROPPED, edgecolor="white", hatch=None if is_kept else _HATCH
    )
    return bar


def _font() -> dict[str, Any]:
    return {"color": INK, **plain()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="?", default=NEWEST)
    folder = parser.parse_args().records
    for path in sorted(folder.glob("ladder-*.json")):
        for drawn in save_figure(draw_ladder(read_record(path)), folder, path.stem):
            print(drawn)


if __name__ == "__main__":
    main()
