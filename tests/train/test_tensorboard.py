"""What TensorBoard reads from a run's folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssa_fast.errors import BackendUnavailable
from ssa_fast.train.meter import Pace
from ssa_fast.train.progress import Progress
from ssa_fast.train.records import Epoch, HeldOutScores
from ssa_fast.train.tensorboard import TensorBoard

TARGETS = ("background", "NCR", "ED", "ET", "WT", "TC")


def _progress(step: int, *, loss: float = 0.5, pace: Pace | None = None, epoch: int = 0) -> Progress:
    scores = HeldOutScores(
        dice=dict.fromkeys(TARGETS, 0.8), precision=dict.fromkeys(TARGETS, 0.7), recall=dict.fromkeys(TARGETS, 0.9)
    )
    line = Epoch(
        epoch=epoch, step=step, loss=0.6, learning_rate=1e-3, seconds=1.0, peak_memory_bytes=1, held_out=scores
    )
    return Progress(
        step=step,
        steps=100,
        loss=loss,
        learning_rate=1e-3,
        pace=pace or Pace(steps_per_second=1.5, patches_per_second=3.0),
        peak_memory_bytes=2_500_000_000,
        seconds_left=1.0,
        epoch=line if epoch else None,
        overlay=np.full((8, 12, 3), epoch, dtype=np.uint8) if epoch else None,
    )


def _write(folder: Path, *reports: Progress) -> None:
    board = TensorBoard(folder)
    for report in reports:
        board.show(report)
    board.close()


@pytest.fixture
def accumulator() -> Any:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator


def test_curves_of_reports_and_of_epochs_and_a_slice_an_epoch(accumulator: Any, tmp_path: Path) -> None:
    on_a_gpu = Pace(
        steps_per_second=1, patches_per_second=2, share_of_peak=0.6, gpu_utilization=0.9, gpu_memory_bytes=3_000_000_000
    )
    _write(tmp_path, _progress(20), _progress(40, loss=0.25, pace=on_a_gpu, epoch=1))
    events = accumulator(str(tmp_path)).Reload()

    def curve(name: str) -> list[tuple[int, float]]:
        return [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]

    assert curve("training/loss") == [(20, 0.5), (40, 0.25)]
    assert curve("training/learning_rate") == [(20, 1e-3), (40, 1e-3)]
    assert curve("machine/patches_per_second") == [(20, 3), (40, 2)]
    assert curve("machine/peak_memory_GB") == [(20, 2.5), (40, 2.5)]
    assert curve("machine/share_of_peak") == [(40, 0.6)]
    assert curve("machine/gpu_utilization") == [(40, 0.9)]
    assert curve("machine/gpu_memory_GB") == [(40, 3.0)]
    assert curve("training/epoch_loss") == [(40, 0.6)]
    for target in TARGETS:
        assert curve(f"dice/{target}") == [(40, 0.8)]
        assert curve(f"precision/{target}") == [(40, 0.7)]
        assert curve(f"recall/{target}") == [(40, 0.9)]
    (image,) = events.Images("held_out/overlay")
    assert (image.step, image.width, image.height) == (40, 12, 8)
    assert "held_out/loss" not in events.Tags()["scalars"]


def test_a_run_that_goes_on_from_an_earlier_step_has_no_step_twice(
    accumulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, _progress(20, loss=4), _progress(40, loss=3, epoch=1), _progress(60, loss=9))
    _at(monkeypatch, 1)
    _write(tmp_path, _progress(40, loss=2, epoch=1), _progress(60, loss=1))  # its checkpoint was of step 20
    events = accumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("training/loss")] == [(20, 4), (40, 2), (60, 1)]
    assert [event.step for event in events.Scalars("dice/WT")] == [40]
    assert len(events.Images("held_out/overlay")) == 1


def _at(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Files are named, and read in the order of, the whole second that they were begun in: let it be a later one."""
    import time

    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


def test_nothing_is_written_before_the_first_report(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    TensorBoard(tmp_path / "board").close()
    assert not (tmp_path / "board").exists()


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(BackendUnavailable, match=r"^--tensorboard needs tensorboard: pip install 'ssa-fast\[watch\]'"):
        TensorBoard(tmp_path)
