"""This machine's ceiling, measured with what is installed."""

from __future__ import annotations

import time
from importlib import util

import numpy as np
import pytest

from ssa_fast import hardware
from ssa_fast.doctor import ceiling
from ssa_fast.doctor.ceiling import measured_ceiling


def test_with_torch_its_yardsticks_are_taken() -> None:
    measured = measured_ceiling()
    assert "torch" in measured.source
    assert ("bf16" in measured.peaks) == hardware.cpu().has_bf16
    assert min(measured.peaks.values()) > 1e8


def test_without_torch_numpy_measures_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    monkeypatch.setattr(ceiling, "_SECONDS", 0.0)
    matrix = np.ones((256, 256), dtype=np.float32)
    start = time.perf_counter()
    for _ in range(3):
        matrix = (matrix @ matrix) / 256
    plain = 3 * 2 * 256**3 / (time.perf_counter() - start)
    start = time.perf_counter()
    np.ones(2**26, dtype=np.uint8).copy()
    copied = 2**26 / (time.perf_counter() - start)
    measured = measured_ceiling()
    assert measured.device == hardware.cpu().name
    assert list(measured.peaks) == ["float32"]
    assert "numpy" in measured.source
    assert measured.peaks["float32"] > plain / 10  # a busy machine may be slower a moment later
    assert measured.bandwidth > copied / 10
