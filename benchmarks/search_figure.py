"""The search for a network as a figure: Dice on scanners that were held out against the time that a case takes.

python -m benchmarks.search_figure benchmarks/results/0.1.0     # draws search.png and .svg
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.records import NEWEST, SHOWN_GROUP, read_record
from ssa_fast.evaluate.chart import INK, QUIET, new_figure, plain, save_figure
from ssa_fast.labels import REGIONS

__all__ = ["draw_search", "front", "main"]

_KEPT, _LOST = "#0072B2", "#D55E00"  # of Okabe and Ito, with markers of their own
_SMALL = 9

Record = Mapping[str, Any]


def draw_search(cost: Record, dice: Record) -> Figure:
    """A panel a region. Networks that were not trained stand at the bottom, where their cost is."""
    times = {row["name"]: float(row["int8"]["times_as_long_as_lite"]) for row in cost["rows"]}
    error, times["lite"] = times["lite"] - 1, 1.0
    by_group = {name: of["by_group"] for name, of in dice["networks"].items()}
    networks = {name: groups[SHOWN_GROUP] for name, groups in by_group.items() if SHOWN_GROUP in groups}
    note = (
        f"{dice['budget']}\nSquares: no other is faster and better. Crosses at the bottom: measured for their cost, "
        f"not trained. lite against itself: {error:+.0%}."
    )
    figure = new_figure("Dice of held-out scanners against time: one short training a network", note, (13, 5.6))
    panels = figure.subplots(1, len(REGIONS))
    for axes, region in zip(panels, REGIONS, strict=True):
        points = {name: (times[name], float(of["mean_dice"][region])) for name, of in networks.items()}
        _panel(axes, region, points, {name: x for name, x in times.items() if name not in networks})
    return figure


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names of those (time, Dice) that no other beats in one without losing in the other; the fastest first."""
    kept: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not kept or points[name][1] > points[kept[-1]][1]:
            kept.append(name)
    return kept


def _panel(axes: Axes, region: str, points: Mapping[str, tuple[float, float]], untrained: Mapping[str, float]) -> None:
    kept = front(points)
    axes.plot(*zip(*(points[name] for name in kept), strict=True), "-", color=_KEPT, linewidth=1)
    for place, (name, (x, y)) in enumerate(sorted(points.items(), key=lambda point: point[1])):
        axes.plot(x, y, "s" if name in kept else "o", color=_KEPT if name in kept else _LOST, markersize=7)
        axes.annotate(
            name,
            (x, y),
            (0, 8 if place % 2 else -16),  # above and below in turn: neighbors' names would meet
            textcoords="offset points",
            ha="center",
            fontsize=_SMALL,
            color=INK,
            **plain(),
        )
    least, most = min(y for _, y in points.values()), max(y for _, y in points.values())
    margin = max(0.02, 0.25 * (most - least))
    axes.set_ylim(least - 2 * margin, most + 1.5 * margin)
    axes.plot(list(untrained.values()), [least - 2 * margin] * len(untrained), "x", color=QUIET, clip_on=False)
    shown = [*untrained.values(), *(x for x, _ in points.values())]
    axes.set_xlim(min(shown) - 0.08, max(shown) + 0.08)
    axes.set_title(f"Mean Dice of {region}", fontsize=11, loc="left", color=INK, **plain())
    axes.set_xlabel("times as long as lite, int8", fontsize=_SMALL, color=INK, **plain())
    axes.tick_params(labelsize=_SMALL)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="?", default=NEWEST)
    folder = parser.parse_args().records
    paths = [folder / f"search-{what}.json" for what in ("cost", "dice")]
    if not all(path.is_file() for path in paths):
        return
    cost, dice = map(read_record, paths)
    for drawn in save_figure(draw_search(cost, dice), folder, "search"):
        print(drawn)


if __name__ == "__main__":
    main()
