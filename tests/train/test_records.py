"""What a run leaves for people to read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ssa_fast.config import to_mapping
from ssa_fast.errors import BackendUnavailable
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.placement import choose_placement
from ssa_fast.train.records import HISTORY, INFO, STATS, Epoch, HeldOutScores, draw_history, write_info, write_stats


def _epochs(count: int, *, is_scored: bool = True) -> list[dict[str, object]]:
    epochs = []
    for number in range(1, count + 1):
        table = dict.fromkeys(("background", "NCR", "ED", "ET", "WT", "TC"), number / 10)
        scores = HeldOutScores(dice=table, precision=table, recall=table, loss=1 / number)
        line = Epoch(
            epoch=number,
            step=16 * number,
            loss=2 / number,
            learning_rate=1e-3 / number,
            seconds=3.0,
            peak_memory_bytes=10**9,
            held_out=scores if is_scored else None,
        )
        epochs.append(to_mapping(line))
    return epochs


def test_stats_hold_an_epoch_a_line(tmp_path: Path) -> None:
    write_stats(tmp_path, _epochs(3))
    lines = (tmp_path / STATS).read_text().splitlines()
    assert lines[0] == "["
    assert [json.loads(line.rstrip(","))["epoch"] for line in lines[1:-1]] == [1, 2, 3]


def test_info_says_what_is_trained_and_where(tmp_path: Path) -> None:
    config = TrainConfig(preset="reference", patch=(128, 128, 128), precision="float32")
    write_info(tmp_path, config, choose_placement(config, Group()))
    info = json.loads((tmp_path / INFO).read_text())
    assert info["parameters"] == 22_580_964
    assert info["gflop_a_patch"] == 962.5
    assert info["precision"] == "float32"
    assert info["peak_gflop_a_second"] > 0
    assert "torch" in info["machine"]


@pytest.mark.parametrize(("count", "is_scored"), [(0, True), (1, True), (4, True), (4, False)])
def test_the_history_is_drawn_however_short_it_is(count: int, is_scored: bool, tmp_path: Path) -> None:
    assert draw_history(tmp_path, _epochs(count, is_scored=is_scored)) == tmp_path / HISTORY
    assert (tmp_path / HISTORY).read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'ssa-fast\[report\]'"):
        draw_history(tmp_path, _epochs(1))
