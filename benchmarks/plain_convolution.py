"""The yardstick of a run: one 3x3x3 convolution by torch, in float32, as it comes. No code of ours is in it.

A benchmark's time divided by the yardstick's is what two runs are compared by: a machine that is slower today is slower
in both. It is taken right before and right behind each benchmark.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from ssa_fast import hardware

__all__ = ["NAME", "Yardstick"]

_CHANNELS, _EDGE, _CALLS = 32, 48, 4
NAME = f"torch float32, one convolution 3x3x3 of {_CHANNELS} channels at {_EDGE}^3"


@dataclass
class Yardstick:
    """Seconds of every call so far."""

    seconds: list[float] = field(default_factory=list)

    def measure(self, calls: int = _CALLS) -> None:
        """A few more calls, after one that wakes threads. The process's number of threads is as it was in the end."""
        windows, weights = _tensors()
        threads = torch.get_num_threads()
        torch.set_num_threads(hardware.cpu().threads)
        try:
            with torch.inference_mode():
                functional.conv3d(windows, weights, padding=1)
                for _ in range(calls):
                    start = time.perf_counter()
                    functional.conv3d(windows, weights, padding=1)
                    self.seconds.append(time.perf_counter() - start)
        finally:
            torch.set_num_threads(threads)

    def summary(self) -> dict[str, float]:
        """Median, least and greatest, and how many calls."""
        return {
            "median": statistics.median(self.seconds),
            "min": min(self.seconds),
            "max": max(self.seconds),
            "calls": len(self.seconds),
        }


@lru_cache(maxsize=1)
def _tensors() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    windows = torch.randn((1, _CHANNELS, _EDGE, _EDGE, _EDGE), generator=generator)
    return windows, torch.randn((_CHANNELS, _CHANNELS, 3, 3, 3), generator=generator) / (27 * _CHANNELS) ** 0.5
