"""Figures are drawn from what records hold, also where one is absent, and equal records give equal bytes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ladder_figure import dice_words, draw_ladder
from benchmarks.readme_tables import TABLES
from benchmarks.records import NEWEST, find, machine_facts, read_record
from benchmarks.rungs import ELSEWHERE, FIRST, rungs_here
from benchmarks.scaling import drift_of, fitted_power
from benchmarks.scaling_figure import draw_scaling
from benchmarks.search_figure import draw_search, front
from ssa_fast.evaluate.chart import save_figure

ABOUT = {"machine": machine_facts(), "commit": "abc", "foreign_share": 0.2, "network": "lite"}


def _rung(seconds: float, on: str = "", **changes: Any) -> dict[str, Any]:
    gain = {"median": 2.0, "low": 1.9, "high": 2.1} if on else None
    return {
        "on": on,
        "seconds": seconds,
        "times_as_fast_as_below": gain,
        "times_as_fast_as_the_first": 8 / seconds,
        "peak_bytes": 10**9,
        "dice_change": {"WT": 0.001, "TC": -0.0123, "ET": 0.0},
        "is_kept": True,
        "why": "",
    } | changes


@pytest.fixture
def ladder() -> dict[str, Any]:
    rungs = {"first": _rung(8), "second": _rung(4, "first"), "third": _rung(6, "second", is_kept=False, why="slower")}
    other = {"name": "cache", "record": "r.json", "values": {"s": 0.5}, "is_kept": False, "why": "little"}
    return ABOUT | {"input": [1, 4, 16, 32, 16], "rungs": rungs, "elsewhere": [other]}


def _texts(figure: Any) -> str:
    texts = [text.get_text() for axes in figure.axes for text in (*axes.texts, *axes.get_yticklabels(), axes.title)]
    texts += [axes.get_title(loc="left") for axes in figure.axes]
    return "\n".join([*texts, figure.get_suptitle(), figure.get_supxlabel()])


def test_each_rung_has_its_time_gain_and_dice(ladder: dict[str, Any], tmp_path: Path) -> None:
    figure = draw_ladder(ladder)
    said = _texts(figure)
    for words in ("second  (first)", "8.00 s", "4.00 s, x 2.00, Dice -0.0123", "16 x 32 x 16", "others took 20%"):
        assert words in said, (words, said)
    one = [path.read_bytes() for path in save_figure(figure, tmp_path / "one", "ladder")]
    other = [path.read_bytes() for path in save_figure(draw_ladder(ladder), tmp_path / "other", "ladder")]
    assert one == other


def test_the_ladder_is_a_table_of_the_readme(ladder: dict[str, Any], tmp_path: Path) -> None:
    assert TABLES["ladder"](tmp_path) == []
    (tmp_path / "ladder-fast.json").write_text(json.dumps(ladder))
    said = "\n".join(TABLES["ladder"](tmp_path))
    assert "| second, on first | 4.00 | 2.00 | 2.0 | 1.00 GB | -0.0123 | kept |" in said
    assert "| third, on second | 6.00 | 2.00 | 1.3 | 1.00 GB | -0.0123 | dropped: slower |" in said
    assert "| cache (`r.json`): s 0.5 | | | | | | dropped: little |" in said


def test_no_segmentation_gives_no_dice() -> None:
    assert dice_words({"dice_change": {}}) == ""


def test_what_is_recorded_elsewhere_is_there() -> None:
    for one in ELSEWHERE:
        for way in one.values.values():
            find(read_record(NEWEST / f"{one.record}.json"), way, one.record)


def test_every_rung_stands_on_one_before_it() -> None:
    rungs = rungs_here()
    assert rungs[0].name == FIRST
    for place, rung in enumerate(rungs[1:], 1):
        assert rung.on in {one.name for one in rungs[:place]}, rung


def test_scaling_is_drawn_and_what_is_absent_is_said(tmp_path: Path) -> None:
    points = [
        {"voxels": 1e6 * size, "shape": [size] * 3, "seconds": 0.5 * size, "peak_bytes": 1e8 * size}
        for size in (1, 2, 4)
    ]
    volume = ABOUT | {
        "volume": points,
        "seconds_by_voxels": asdict(fitted_power([(point["voxels"], point["seconds"]) for point in points])),
        "peak_bytes_a_voxel": 100.0,
        "threads": [{"threads": count} | points[0] for count in (1, 2)],
        "times_as_fast_with_all_threads": 1.0,
    }
    cases = ABOUT | {
        "cases": 4,
        "seconds": [1.0] * 4,
        "resident_mb": [200.0] * 4,
        "second_half_by_first": asdict(drift_of([1.0] * 4, [2e8] * 4)),
    }
    said = _texts(draw_scaling("lite", volume, cases, None))
    for words in ("voxels^1.00", "second half x 1.00, +0.00 MB a case", "not recorded"):
        assert words in said, (words, said)
    (tmp_path / "scaling-volume-fast.json").write_text(json.dumps(volume))
    [line] = TABLES["scaling"](tmp_path)
    assert "to the power of 1.00 (1 x 1 x 1 to 4 x 4 x 4), memory by 100 bytes a voxel" in line


def test_the_front_is_what_no_other_beats() -> None:
    points = {
        "slow": (1.2, 0.9),
        "fast": (0.7, 0.6),
        "beaten": (0.8, 0.5),
        "as good, slower": (0.9, 0.6),
        "mid": (1, 0.8),
    }
    assert front(points) == ["fast", "mid", "slow"]
    assert front({"worse": (1.0, 0.5), "better": (1.0, 0.6)}) == ["better"]


def test_the_search_shows_trained_and_untrained_networks(tmp_path: Path) -> None:
    names = {"lite": 1.04, "narrow": 0.8, "wide": 1.3}
    cost = {"rows": [{"name": name, "int8": {"times_as_long_as_lite": times}} for name, times in names.items()]}
    group = {"mean_dice": {"WT": 0.8, "TC": 0.6, "ET": 0.5}}
    dice = {name: {"by_group": {"1": group}} for name in ("lite", "narrow")}
    figure = draw_search(cost, {"budget": "Short.", "networks": dice})
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert words == ["narrow", "lite"] * 3  # from the left
    crosses = [line.get_xdata() for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
    assert crosses == [[1.3]] * 3
    assert "lite against itself: +4%." in "".join(text.get_text() for text in figure.texts)
    picture, _ = save_figure(figure, tmp_path, "search")
    assert picture.stat().st_size > 10_000
