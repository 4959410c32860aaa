"""The watch over a GPU, by a pynvml that is none: what it is asked, and what its refusals do."""

from __future__ import annotations

import logging
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from ssa_fast.train import gpu
from ssa_fast.train.gpu import GpuSample, open_gpu_watch

CUDA = torch.device("cuda", 1)
UUID = "12345678-aaaa-bbbb-cccc-1234567890ab"


class FakeNvml:
    """As much of pynvml as is used, with its names and units: percent and bytes."""

    class NVMLError(Exception):
        pass

    def __init__(self, refuses: str = "", looks: int = 1000) -> None:
        self.refuses, self.looks = refuses, looks
        self.begun = 0
        self.seen = threading.Event()  # that the thread has looked twice, or was refused

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's own name
        self._refuse("init")
        self.begun += 1

    def nvmlShutdown(self) -> None:  # noqa: N802 - NVML's own name
        self.begun -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802 - NVML's own name
        self._refuse("handle")
        assert uuid == f"GPU-{UUID}"
        return "handle"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:  # noqa: N802 - NVML's own name
        assert handle == "handle"
        self._refuse("utilization")
        self.looks -= 1
        if self.looks < 0:
            self.seen.set()
            raise self.NVMLError("GPU is lost")
        return SimpleNamespace(gpu=92, memory=40)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:  # noqa: N802 - NVML's own name
        if self.looks <= 997:
            self.seen.set()
        return SimpleNamespace(used=3_410_000_000, total=4 * 1024**3)

    def _refuse(self, what: str) -> None:
        if self.refuses == what:
            raise self.NVMLError("Not Supported")


@pytest.fixture(autouse=True)
def _a_gpu(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "gpu" in request.keywords:
        return
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=UUID))
    monkeypatch.setattr(gpu, "_INTERVAL_S", 0.0)


def test_samples_are_shares_and_bytes_and_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    watch = open_gpu_watch(CUDA)
    assert watch is not None
    assert nvml.seen.wait(30)
    watch.close()
    samples = watch.take()
    assert set(samples) == {GpuSample(utilization=0.92, memory_bytes=3_410_000_000)}
    assert watch.take() == []
    assert nvml.begun == 0


@pytest.mark.parametrize("refuses", ["init", "handle", "utilization"])
def test_a_driver_that_refuses_is_a_line_of_the_debug_log_and_nothing_else(
    refuses: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nvml = FakeNvml(refuses)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with caplog.at_level(logging.DEBUG):
        assert open_gpu_watch(CUDA) is None
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("DEBUG", "the GPU's use is not shown: Not Supported")
    ]
    assert nvml.begun == 0


def test_without_nvidia_ml_py_nothing_is_shown_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpu_watch(CUDA) is None


def test_a_cpu_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("init"))
    assert open_gpu_watch(torch.device("cpu")) is None


def test_a_gpu_that_is_lost_while_it_is_watched_ends_the_watch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(looks=3)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    watch = open_gpu_watch(CUDA)
    assert watch is not None
    assert nvml.seen.wait(30)
    watch.close()
    assert len(watch.take()) == 2  # the first look was before the thread


@pytest.mark.gpu
def test_a_true_driver_tells_of_the_gpu_that_torch_means() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    device = torch.device("cuda", 0)
    watch = open_gpu_watch(device)
    if watch is None:
        pytest.skip("NVML does not tell of this GPU")
    held = torch.zeros(2**26, device=device)  # 268 MB
    samples, end = watch.take(), time.monotonic() + 30
    while not samples and time.monotonic() < end:
        samples = watch.take()
    watch.close()
    assert samples[0].memory_bytes >= held.numel() * 4
    assert 0 <= samples[0].utilization <= 1
