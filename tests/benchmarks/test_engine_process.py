"""A network in a process of its own gives the labels of the backend itself, however it is run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine_process import EngineProcess, Setup
from ssa_fast.backends import open_backend
from ssa_fast.model.bundle import read_bundle
from ssa_fast.volume.geometry import FloatArray, LabelArray


@pytest.fixture(scope="module")
def windows() -> FloatArray:
    return np.random.default_rng(0).standard_normal((1, 4, 32, 32, 32), dtype=np.float32)


@pytest.fixture(scope="module")
def labels(tiny_bundle_path: Path, windows: FloatArray) -> LabelArray:
    return open_backend("ort", read_bundle(tiny_bundle_path), "float32").labels(windows)[0].copy()


def test_one_pass_is_timed_and_gives_the_backends_labels(
    tiny_bundle_path: Path, windows: FloatArray, labels: LabelArray, tmp_path: Path
) -> None:
    setup = Setup(bundle=str(tiny_bundle_path), backend="ort", threads=1)
    with EngineProcess(setup, windows, tmp_path) as process:
        assert process.seconds_to_start > process.seconds_to_open > 0
        first = process.run()
        second = process.run()
        assert first.seconds > 0
        assert second.peak_bytes >= first.peak_bytes > 20_000_000
        assert second.gpu_peak_bytes is None
        np.testing.assert_array_equal(process.labels(), labels)
        if hasattr(os, "sched_getaffinity"):
            assert ", 1 threads" in process.device, "it may use one processor, and says so"


def test_windows_without_overlap_over_one_window_are_that_window(
    tiny_bundle_path: Path, windows: FloatArray, labels: LabelArray, tmp_path: Path
) -> None:
    setup = Setup(bundle=str(tiny_bundle_path), backend="torch", window=(32, 32, 32), overlap=0, is_contiguous=True)
    with EngineProcess(setup, windows, tmp_path) as process:
        process.run()
        assert (process.labels() == labels).mean() > 0.999


def test_logits_and_smaller_windows_are_what_they_say(
    tiny_bundle_path: Path, windows: FloatArray, labels: LabelArray, tmp_path: Path
) -> None:
    """Instance norm of a half is not that of the whole: smaller windows give other labels, logits the same."""
    common = {"bundle": str(tiny_bundle_path), "backend": "ort"}
    with EngineProcess(Setup(**common, gives="logits"), windows, tmp_path / "logits") as process:  # type: ignore[arg-type]
        process.run()
        np.testing.assert_array_equal(process.labels(), labels)
    halves = Setup(**common, window=(16, 32, 32), batch=2)  # type: ignore[arg-type]
    with EngineProcess(halves, windows, tmp_path / "halves") as process:
        process.run()
        assert 0.3 < (process.labels() == labels).mean() < 0.999


def test_a_process_that_fails_says_why(windows: FloatArray, tmp_path: Path) -> None:
    absent = EngineProcess(Setup(bundle="absent.onnx", backend="ort"), windows, tmp_path)
    with pytest.raises(RuntimeError, match=r"ort ended: .*absent\.onnx: cannot be read"), absent:
        pass
