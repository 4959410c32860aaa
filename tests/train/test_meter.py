"""The meter of a run: laps, epochs, and what of the machine they took, by a clock that is set by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from ssa_fast.train import meter as module
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.gpu import GpuSample
from ssa_fast.train.group import Group
from ssa_fast.train.meter import Meter, update_flop
from ssa_fast.train.placement import Placement

CONFIG = TrainConfig(preset="lite", patch=(128, 128, 128), batch=2, accumulate=3, precision="float32")


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Watch:
    """A GPU of which somebody has taken samples."""

    def __init__(self) -> None:
        self.samples: list[GpuSample] = []
        self.is_closed = False

    def add(self, utilization: float, memory_bytes: int) -> None:
        self.samples.append(GpuSample(utilization=utilization, memory_bytes=memory_bytes))

    def take(self) -> list[GpuSample]:
        samples, self.samples = self.samples, []
        return samples

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(module, "open_gpu_watch", lambda device: watch)
    monkeypatch.setattr(module, "measured_peak", lambda device, dtype: 10e12)
    return watch


def _placement(rank: int = 0, size: int = 1) -> Placement:
    return Placement(group=Group(rank=rank, size=size), dtype=torch.float32, layout=torch.contiguous_format)


def test_an_update_takes_three_times_the_forward_pass_of_its_patches_however_much_is_recomputed() -> None:
    assert update_flop(CONFIG) == pytest.approx(3 * 85.9e9 * 6, rel=1e-3)
    assert update_flop(dataclasses.replace(CONFIG, recomputed_levels=2)) == update_flop(CONFIG)


def test_a_lap_has_the_pace_since_the_last_one(clock: Clock, watch: Watch) -> None:
    meter = Meter(CONFIG, _placement())
    clock.now += 4
    watch.add(0.9, 3_000)
    watch.add(0.5, 5_000)
    pace = meter.lap(8)
    assert (pace.steps_per_second, pace.patches_per_second) == (2, 12)
    assert pace.share_of_peak == pytest.approx(2 * update_flop(CONFIG) / 10e12)
    assert (pace.gpu_utilization, pace.gpu_memory_bytes) == (pytest.approx(0.7), 5_000)
    clock.now += 1
    pace = meter.lap(1)
    assert (pace.steps_per_second, pace.gpu_utilization, pace.gpu_memory_bytes) == (1, None, None)


def test_an_epoch_is_the_sum_of_its_laps_and_scoring_is_none_of_it(clock: Clock, watch: Watch) -> None:
    meter = Meter(CONFIG, _placement())
    clock.now += 4
    watch.add(1.0, 1)
    meter.lap(8)
    clock.now += 1
    watch.add(0.5, 3)
    watch.add(0.0, 2)
    meter.lap(2)
    pace = meter.end_epoch()
    assert pace is not None
    assert (pace.steps_per_second, pace.gpu_utilization, pace.gpu_memory_bytes) == (2, 0.5, 3)
    assert meter.end_epoch() is None
    clock.now += 1000  # held-out cases
    watch.add(0.0, 9)
    meter.restart()
    clock.now += 1
    pace = meter.lap(3)
    assert (pace.steps_per_second, pace.gpu_utilization) == (3, None)
    meter.close()
    assert watch.is_closed


def test_only_the_first_of_several_processes_measures_and_the_patches_are_of_all(clock: Clock, watch: Watch) -> None:
    meter = Meter(CONFIG, _placement(rank=1, size=4))
    clock.now += 1
    watch.add(1.0, 1)
    pace = meter.lap(1)
    assert pace.patches_per_second == 24
    assert (pace.share_of_peak, pace.gpu_utilization, pace.gpu_memory_bytes) == (None, None, None)
    meter.close()
    assert not watch.is_closed
