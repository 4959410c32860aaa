"""A backend without a network, whose right answer is known."""

from __future__ import annotations

import numpy as np

from ssa_fast.backends.base import Device, Footprint, check_windows
from ssa_fast.model.spec import ModelSpec
from ssa_fast.volume.geometry import FloatArray
from tests.networks import tiny_config


class BrightnessBackend:
    """Label 3 where the z-score of t1c is above 1, 2 where that of t2f is, else 0."""

    def __init__(self) -> None:
        self.spec = ModelSpec(name="brightness", network=tiny_config(), window=(16, 16, 16))
        self.device = Device(engine="numpy", name="none", precision="float32")
        self.footprint = Footprint(held_bytes=1_000_000, share=1.0)

    def logits(self, windows: FloatArray) -> FloatArray:
        check_windows(windows, self.spec)
        logits = np.zeros_like(windows)  # (N, 4, X, Y, Z): as many labels as modalities
        logits[:, 0] = 1.5
        logits[:, 2] = 2 * (windows[:, 3] > 1)
        logits[:, 3] = 3 * (windows[:, 1] > 1)
        return logits

    def free_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        pass
