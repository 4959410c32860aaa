"""What a run leaves for people to read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ssa_fast.config import to_mapping
from ssa_fast.errors import BackendUnavailable
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.placement import choose_placement
from ssa_fast.train.records import (
    HISTORY,
    INFO,
    STATS,
    Epoch,
    HeldOutScores,
    draw_history,
    finite_mean,
    write_info,
    write_stats,
)


def _epochs(count: int, *, is_scored: bool = True) -> list[dict[str, Any]]:
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


def _drawn(folder: Path, epochs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The figure that the file was made of."""
    figure = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    kept, save = [], figure.Figure.savefig

    def keep(drawn: Any, *arguments: Any, **options: Any) -> None:
        kept.append(drawn)
        save(drawn, *arguments, **options)

    monkeypatch.setattr(figure.Figure, "savefig", keep)
    draw_history(folder, epochs)
    return kept[0]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_updates_are_whole_numbers_however_few_there_are(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = [{**epoch, "step": number} for number, epoch in enumerate(_epochs(count), start=1)]
    for axes in _drawn(tmp_path, epochs, monkeypatch).axes:
        ticks = axes.get_xticks()
        assert len(ticks)
        assert all(float(tick).is_integer() for tick in ticks)


def test_the_epoch_that_the_best_checkpoint_is_of_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = _epochs(3)
    epochs[1]["held_out"]["dice"] = {**dict.fromkeys(("ED", "NCR"), 0.0), **dict.fromkeys(("WT", "TC", "ET"), 0.9)}
    *_, dice = _drawn(tmp_path, epochs, monkeypatch).axes
    marks = [line for line in dice.lines if line.get_label() == "best: epoch 2"]
    assert [list(mark.get_xdata()) for mark in marks] == [[32, 32]]  # 16 updates an epoch
    assert "best: epoch 2" in [text.get_text() for text in dice.get_legend().get_texts()]


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'ssa-fast\[report\]'"):
        draw_history(tmp_path, _epochs(1))


def test_the_mean_norm_leaves_out_what_half_precision_made_infinite() -> None:
    norms = [torch.tensor(value) for value in (1.0, float("inf"), 3.0, float("nan"))]
    assert finite_mean(norms) == 2
    assert finite_mean(norms[1:2]) is None
