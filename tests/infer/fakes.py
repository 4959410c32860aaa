"""A backend without a network, whose right answer is known, and workers with it that may die."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ssa_fast.backends.base import Device, Footprint, check_windows, labels_of_batch
from ssa_fast.errors import BackendUnavailable
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.plan import Plan
from ssa_fast.infer.segmentation import Prepared, Segmentation
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.model.spec import ModelSpec
from ssa_fast.volume.geometry import FloatArray, LabelArray
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

    def labels(self, windows: FloatArray) -> LabelArray:
        return labels_of_batch(self.logits(windows))

    def free_bytes(self) -> int | None:
        return None

    def let_go(self) -> None:
        pass

    def close(self) -> None:
        pass


def open_brightness(share_bytes: int) -> tuple[Segmenter, dict[str, object]]:
    """What a worker opens, in a process of its own."""
    facts = {"bundle_sha256": "abc", "device_as_opened": "numpy", "share_bytes": share_bytes}
    return Segmenter(BrightnessBackend(), intake=Intake()), facts


def open_mortal(folder: Path, case: str, deaths: int, share_bytes: int) -> tuple[Segmenter, dict[str, object]]:
    """As `open_brightness`, but so many of the workers that are handed `case` are killed while they write its result.

    Each leaves a file `death-PID` in `folder`.
    """
    return MortalSegmenter(folder, case, deaths), open_brightness(share_bytes)[1]


def open_nothing(share_bytes: int) -> tuple[Segmenter, dict[str, object]]:
    """A worker without the library."""
    raise BackendUnavailable("backend 'ort' needs 'onnxruntime'")


def open_death(folder: Path, share_bytes: int) -> tuple[Segmenter, dict[str, object]]:
    """A worker that is killed before it is ready."""
    _die(folder)
    raise AssertionError


class MortalSegmenter(Segmenter):
    def __init__(self, folder: Path, case: str, deaths: int) -> None:
        super().__init__(BrightnessBackend(), intake=Intake())
        self._folder, self._case, self._deaths = folder, case, deaths

    def segment_prepared(
        self, prepared: Prepared, on_plan: Callable[[Plan], None] | None = None, other_bytes: int = 0
    ) -> Segmentation:
        if prepared.case.name == self._case and len(list(self._folder.glob("death-*"))) < self._deaths:
            for kind in ("", "-entropy"):
                (self._folder / "out" / f".{self._case}{kind}.nii.gz.{os.getpid()}.partial").write_bytes(b"half")
            _die(self._folder)
        return super().segment_prepared(prepared, on_plan, other_bytes)


def _die(folder: Path) -> None:
    (folder / f"death-{os.getpid()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


class SidedBackend(BrightnessBackend):
    """Logits of four labels by the modalities and by the place along X, Y and Z: flips change the answer."""

    def __init__(self, seed: int = 0, slope: float = 1.0) -> None:
        super().__init__()
        self.mixture = np.random.default_rng(seed).normal(0, slope, (4, 4)).astype(np.float32)
        self.leanings = np.array([0, 3, -2, 1], dtype=np.float32).reshape(4, 1, 1, 1)
        self.calls = 0
        self.is_closed = False

    def logits(self, windows: FloatArray) -> FloatArray:
        check_windows(windows, self.spec)
        self.calls += 1
        x, y, z = (np.arange(edge, dtype=np.float32) / edge for edge in windows.shape[2:])
        ramp = x[:, None, None] + 2 * y[:, None] - z  # (X, Y, Z)
        return np.einsum("kc,ncxyz->nkxyz", self.mixture, windows) + self.leanings * ramp

    def close(self) -> None:
        self.is_closed = True
