"""How fast a run is, and how much of the machine that takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ssa_fast.model.spec import gflop
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.gpu import GpuSample, open_gpu_watch
from ssa_fast.train.peak import measured_peak
from ssa_fast.train.placement import Placement

__all__ = ["Meter", "Pace", "update_flop"]

_PASSES = 3  # forward, and backward for the windows and for the weights


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The pace of some steps; scoring held-out cases is not counted. What only the first process knows is None."""

    steps_per_second: float
    patches_per_second: float  # of all processes together
    share_of_peak: float | None = None  # of the arithmetic that `measured_peak` saw, which the network's took
    gpu_utilization: float | None = None  # mean share of the time; None where NVML does not tell
    gpu_memory_bytes: int | None = None  # the most that was taken on the GPU, by all that runs there


@dataclass(frozen=True, kw_only=True)
class _Lap:
    steps: int
    seconds: float
    samples: Sequence[GpuSample] = field(default_factory=list)


def update_flop(config: TrainConfig) -> float:
    """Operations of one process's share of an update that serve the result.

    What is computed again to save memory is not counted, nor are losses, norms, a teacher and the optimizer.
    """
    return _PASSES * 1e9 * gflop(config.network, config.patch) * config.batch * config.accumulate


class Meter:
    """Measures a run from report to report, and from epoch to epoch."""

    def __init__(self, config: TrainConfig, placement: Placement) -> None:
        """The first process measures its device for half a second, and watches it where that is a GPU."""
        is_first, device = placement.group.is_first, placement.device
        self._flop = update_flop(config)
        self._patches = config.batch * config.accumulate * placement.group.size
        self._peak = measured_peak(device, placement.dtype) if is_first else None
        self._gpu = open_gpu_watch(device) if is_first else None
        self._laps: list[_Lap] = []  # of this epoch
        self._since = time.perf_counter()

    def lap(self, steps: int) -> Pace:
        """The pace of the last `steps`, one or more, which were begun when the last lap ended."""
        seconds = time.perf_counter() - self._since
        lap = _Lap(steps=steps, seconds=seconds, samples=self._gpu.take() if self._gpu else [])
        self._laps.append(lap)
        self._since = time.perf_counter()
        return self._pace([lap])

    def end_epoch(self) -> Pace | None:
        """The pace since the last epoch or, where the run was gone on with, since then; None if there was no lap."""
        laps, self._laps = self._laps, []
        return self._pace(laps) if laps else None

    def restart(self) -> None:
        """Leave out what was done since the last lap."""
        if self._gpu:
            self._gpu.take()
        self._since = time.perf_counter()

    def close(self) -> None:
        """End the watch over the GPU."""
        if self._gpu:
            self._gpu.close()

    def _pace(self, laps: Sequence[_Lap]) -> Pace:
        steps_per_second = sum(lap.steps for lap in laps) / sum(lap.seconds for lap in laps)
        samples = [sample for lap in laps for sample in lap.samples]
        return Pace(
            steps_per_second=steps_per_second,
            patches_per_second=steps_per_second * self._patches,
            share_of_peak=self._flop * steps_per_second / self._peak if self._peak else None,
            gpu_utilization=sum(sample.utilization for sample in samples) / len(samples) if samples else None,
            gpu_memory_bytes=max((sample.memory_bytes for sample in samples), default=None),
        )
