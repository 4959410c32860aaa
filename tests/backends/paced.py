"""Backends that are none: their answers and times are set by the test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ssa_fast.backends.base import Device, Footprint
from ssa_fast.volume.geometry import FloatArray, LabelArray
from tests.infer.fakes import BrightnessBackend


class Paced(BrightnessBackend):
    """Takes a time that is set, by a clock that stands still otherwise; `spoil` is what it does to its logits."""

    def __init__(self, clock: list[float], precision: str, seconds: float) -> None:
        super().__init__()
        self.device = Device(engine="torch 2.10.0", name="NVIDIA GeForce GTX 1650", precision=precision)  # type: ignore[arg-type]
        is_full = precision == "float32"
        self.footprint = Footprint(held_bytes=200 if is_full else 300, share=1.5 if is_full else 1.0, is_host=False)
        self.clock, self.seconds, self.runs, self.is_closed = clock, seconds, 0, False
        self.times_let_go = 0
        self.spoil: Callable[[FloatArray], FloatArray] = lambda logits: logits

    def logits(self, windows: FloatArray) -> FloatArray:
        self.runs += 1
        self.clock[0] += self.seconds
        return self.spoil(super().logits(windows))

    def labels(self, windows: FloatArray) -> LabelArray:
        return super().labels(windows)

    def let_go(self) -> None:
        self.times_let_go += 1

    def close(self) -> None:
        self.is_closed = True


def brain(*shape: int, seed: int = 0) -> FloatArray:
    """A batch whose outer half is no brain."""
    windows: FloatArray = np.zeros((1, 4, *(shape or (16, 16, 32))), dtype=np.float32)
    windows[..., 16:] = np.random.default_rng(seed).standard_normal(windows[..., 16:].shape, dtype=np.float32)
    return windows


def with_another_label(share_of_brain: float) -> Callable[[FloatArray], FloatArray]:
    def spoil(logits: FloatArray) -> FloatArray:
        flat = logits[..., 16:].reshape(4, -1).copy()
        count = round(share_of_brain * flat.shape[1])
        flat[1, :count] = 9
        logits[..., 16:] = flat.reshape(logits[..., 16:].shape)
        return logits

    return spoil
