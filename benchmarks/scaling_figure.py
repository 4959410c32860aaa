"""How cost grows, as a figure of four panels: volume, threads, cases, granted memory.

python -m benchmarks.scaling_figure benchmarks/results/0.1.0    # draws scaling-NETWORK.png and .svg
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quiet import MOST_FOREIGN
from benchmarks.records import NEWEST, read_record
from benchmarks.scaling import PowerLaw
from ssa_fast.config import from_mapping
from ssa_fast.evaluate.chart import INK, QUIET, absent, new_figure, plain, save_figure

__all__ = ["draw_scaling", "main"]

_TIME, _MEMORY = "#0072B2", "#D55E00"  # of Okabe and Ito, with markers of their own
_SMALL = 9

Record = Mapping[str, Any]


def draw_scaling(network: str, volume: Record | None, cases: Record | None, memory: Record | None) -> Figure:
    """Each panel says that there is no record of it where there is none."""
    about = next(record for record in (volume, cases, memory) if record is not None)
    machine = about["machine"]
    foreign = max(record["foreign_share"] or 0 for record in (volume, cases, memory) if record is not None)
    busy = "" if foreign <= MOST_FOREIGN else f" Others took up to {foreign:.0%} of the processors' time."
    note = f"{machine['cpu']}, {machine['threads']} threads, commit {about['commit']}.{busy}"
    figure = new_figure(f"How the cost of {network} grows", note, (13, 8.5))
    panels = figure.subplots(2, 2)
    for axes, record, draw in (
        (panels[0, 0], volume, _volume),
        (panels[0, 1], volume, _threads),
        (panels[1, 0], cases, _cases),
        (panels[1, 1], memory, _budgets),
    ):
        if record is None:
            absent(axes, "not recorded")
        else:
            draw(axes, record)
            axes.tick_params(labelsize=_SMALL)
    return figure


def _volume(axes: Axes, record: Record) -> None:
    law = from_mapping(PowerLaw, record["seconds_by_voxels"])
    voxels = [point["voxels"] / 1e6 for point in record["volume"]]
    axes.plot(voxels, [point["seconds"] for point in record["volume"]], "o", color=_TIME)
    axes.plot(voxels, [law.at(1e6 * size) for size in voxels], "-", color=_TIME)
    axes.set(xlim=(0, None), ylim=(0, None))
    _titled(axes, f"Volume: seconds ~ voxels^{law.exponent:.2f}", "million voxels", "seconds, one pass")
    other = axes.twinx()
    other.plot(voxels, [point["peak_bytes"] / 1e9 for point in record["volume"]], "s--", color=_MEMORY)
    other.set_ylim(0)
    other.set_ylabel("peak memory, GB (squares)", fontsize=_SMALL, color=_MEMORY, **plain())
    other.tick_params(labelsize=_SMALL)


def _threads(axes: Axes, record: Record) -> None:
    counts = [point["threads"] for point in record["threads"]]
    axes.bar(counts, [point["seconds"] for point in record["threads"]], width=0.5, color=_TIME)
    axes.set_xticks(counts)
    shape = " x ".join(map(str, record["threads"][0]["shape"]))
    gain = record["times_as_fast_with_all_threads"]
    _titled(axes, f"Threads: all are {gain:.2f} times as fast as one", f"threads, {shape}", "seconds, one pass")


def _cases(axes: Axes, record: Record) -> None:
    drift, places = record["second_half_by_first"], range(1, record["cases"] + 1)
    axes.plot(places, record["seconds"], ".", color=_TIME, markersize=4)
    axes.set_ylim(0)
    title = f"Cases: second half x {drift['seconds']:.2f}, {drift['resident_mb_a_case']:+.2f} MB a case"
    _titled(axes, title, "case", "seconds a case (dots)")
    other = axes.twinx()
    other.plot(places, record["resident_mb"], "-", color=_MEMORY)
    other.set_ylim(0, 1.15 * max(record["resident_mb"]))
    other.set_ylabel("resident memory, MB (line)", fontsize=_SMALL, color=_MEMORY, **plain())
    other.tick_params(labelsize=_SMALL)


def _budgets(axes: Axes, record: Record) -> None:
    rows = record["budgets"]
    for place, row in enumerate(rows):
        if not row["fits"]:
            axes.text(
                place, 0, "refused", ha="center", va="bottom", rotation=90, fontsize=_SMALL, color=QUIET, **plain()
            )
            continue
        axes.bar(place, row["network_seconds"], width=0.5, color=_TIME)
        words = f"{row['passes']} pass{'es' if row['passes'] > 1 else ''}\n{row['peak_gb']:.2f} GB"
        axes.text(place, row["network_seconds"], words, ha="center", va="bottom", fontsize=_SMALL, color=INK, **plain())
    axes.set_xticks(range(len(rows)), [row["granted"] for row in rows])
    most = max((row["network_seconds"] for row in rows if row["fits"]), default=1)
    axes.set_ylim(0, 1.3 * most)
    _titled(
        axes, "Granted memory: windows where one pass is too large", "--max-ram, one case", "seconds of the network"
    )


def _titled(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=11, loc="left", color=INK, **plain())
    axes.set_xlabel(x, fontsize=_SMALL, color=INK, **plain())
    axes.set_ylabel(y, fontsize=_SMALL, color=INK, **plain())
    axes.spines["top"].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="?", default=NEWEST)
    folder = parser.parse_args().records
    for network in sorted({path.stem.partition("-")[2].partition("-")[2] for path in folder.glob("scaling-*-*.json")}):
        paths = [folder / f"scaling-{kind}-{network}.json" for kind in ("volume", "cases", "memory")]
        records = [read_record(path) if path.is_file() else None for path in paths]
        for drawn in save_figure(draw_scaling(network, *records), folder, f"scaling-{network}"):
            print(drawn)


if __name__ == "__main__":
    main()
