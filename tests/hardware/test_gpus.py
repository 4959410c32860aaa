"""GPUs and their driver, by an NVML and an nvidia-smi that are none."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssa_fast.hardware import (
    Gpu,
    find_gpus,
    gpus,
    has_emulated_tensor_cores,
    has_nvidia_driver,
    nvidia_driver_version,
)
from tests.hardware.conftest import Machine


@pytest.mark.parametrize("path", ["/proc/driver/nvidia/version", "/dev/dxg"])
def test_a_driver_is_known_by_its_file(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(Path, "exists", lambda self: self.as_posix() == path)
    assert has_nvidia_driver()
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert not has_nvidia_driver()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n", "550.54.14"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  590.44  Release Build\n", "590.44"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_driver_tells_its_version(text: str | None, version: str, machine: Machine) -> None:
    machine({} if text is None else {"/proc/driver/nvidia/version": text})
    assert nvidia_driver_version() == version


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce GTX 1650",
        "NVIDIA GeForce GTX 1650 with Max-Q Design",
        "NVIDIA GeForce GTX 1660 Ti",
        "NVIDIA GeForce GTX 1660 SUPER",
        "NVIDIA GeForce GTX 1630",
        "NVIDIA GeForce MX450",
        "NVIDIA GeForce MX550",
        "NVIDIA T400 4GB",
        "NVIDIA T500",
        "NVIDIA T550 Laptop GPU",
        "NVIDIA T600",
        "NVIDIA T1000 8GB",
        "NVIDIA T1200 Laptop GPU",
        "Quadro T2000",
        "NVIDIA CMP 30HX",
    ],
)
def test_cards_of_tu116_and_tu117_have_emulated_tensor_cores(name: str) -> None:
    assert has_emulated_tensor_cores(name)


@pytest.mark.parametrize(
    "name",
    [
        "Tesla T4",
        "Quadro RTX 4000",
        "NVIDIA RTX A400",
        "NVIDIA GeForce RTX 2060",
        "NVIDIA GeForce RTX 2080 Ti",
        "Quadro RTX 6000",
        "NVIDIA TITAN RTX",
        "NVIDIA RTX A2000",
        "NVIDIA GeForce RTX 4060 Laptop GPU",
        "NVIDIA A100-SXM4-80GB",
        "NVIDIA H200",
        "NVIDIA GeForce GTX 1080 Ti",
    ],
)
def test_other_cards_have_no_emulated_tensor_cores(name: str) -> None:
    assert not has_emulated_tensor_cores(name)


class FakeNvml:
    """As much of pynvml as is used, with its names and units: bytes, and CUDA 12.4 as 12040."""

    class NVMLError(Exception):
        pass

    def __init__(self, refuses: str = "") -> None:
        self.refuses, self.begun = refuses, 0

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's own name
        if self.refuses == "init":
            raise self.NVMLError("Driver/library version mismatch")
        self.begun += 1

    def nvmlShutdown(self) -> None:  # noqa: N802 - NVML's own name
        self.begun -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML's own name
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - NVML's own name
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802 - NVML's own name
        return ("NVIDIA GeForce GTX 1650", "NVIDIA A100-SXM4-80GB")[handle]

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:  # noqa: N802 - NVML's own name
        return ((7, 5), (8, 0))[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802 - NVML's own name
        if self.refuses == "memory":
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(total=(4, 80)[handle] * 2**30, free=(3, 79)[handle] * 2**30, used=2**30)

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802 - NVML's own name
        return "550.54.14"

    def nvmlSystemGetCudaDriverVersion(self) -> int:  # noqa: N802 - NVML's own name
        return 12040


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(gpus, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(gpus, "nvidia_driver_version", lambda: "550.54.14")
    return monkeypatch


GTX_1650 = Gpu(name="NVIDIA GeForce GTX 1650", capability=(7, 5), memory_bytes=4 * 2**30, free_bytes=3 * 2**30)


def test_nvml_tells_of_every_gpu_and_is_ended(driver: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    driver.setitem(sys.modules, "pynvml", nvml)
    found = find_gpus()
    assert found.gpus[0] == GTX_1650
    assert [gpu.name for gpu in found.gpus] == ["NVIDIA GeForce GTX 1650", "NVIDIA A100-SXM4-80GB"]
    assert (found.driver, found.cuda, found.told_by, nvml.begun) == ("550.54.14", "12.4", "NVML", 0)


@pytest.mark.parametrize("refuses", ["module", "init", "memory"])
def test_nvidia_smi_is_asked_where_nvml_cannot_be(refuses: str, driver: pytest.MonkeyPatch) -> None:
    nvml = None if refuses == "module" else FakeNvml(refuses)
    driver.setitem(sys.modules, "pynvml", nvml)
    rows = "NVIDIA GeForce GTX 1650, 7.5, 4096, 3072, 550.54.14\nOld, [N/A], [N/A], [N/A], 550.54.14\n"
    driver.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, rows, ""))
    found = find_gpus()
    assert found.gpus == (GTX_1650, Gpu(name="Old", capability=(0, 0), memory_bytes=0, free_bytes=0))
    assert (found.driver, found.told_by) == ("550.54.14", "nvidia-smi")
    assert nvml is None or nvml.begun == 0


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (FileNotFoundError(2, "No such file or directory"), "nvidia-smi: No such file or directory"),
        ((9, "", "NVIDIA-SMI has failed because\nmore"), "nvidia-smi: NVIDIA-SMI has failed because"),
        ((0, "Field is not a valid field to query.\n", ""), "nvidia-smi: Field is not a valid field to query."),
    ],
)
def test_where_neither_tells_it_is_said_why(
    done: OSError | tuple[int, str, str], words: str, driver: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if isinstance(done, OSError):
            raise done
        return subprocess.CompletedProcess(command, *done)

    driver.setitem(sys.modules, "pynvml", None)
    driver.setattr(subprocess, "run", run)
    found = find_gpus()
    assert (found.gpus, found.driver) == ((), "550.54.14")
    assert "pynvml" in found.told_by
    assert words in found.told_by


def test_without_a_driver_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "has_nvidia_driver", lambda: False)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("init"))
    assert (find_gpus().gpus, find_gpus().driver) == ((), "")


@pytest.mark.parametrize(
    ("name", "capability", "has_tensor_cores", "has_bf16"),
    [
        ("NVIDIA GeForce GTX 1650", (7, 5), False, False),
        ("Tesla T4", (7, 5), True, False),
        ("NVIDIA A100-SXM4-80GB", (8, 0), True, True),
        ("NVIDIA GeForce GTX 1080 Ti", (6, 1), False, False),
    ],
)
def test_tensor_cores_and_bf16_follow_from_capability_and_name(
    name: str, capability: tuple[int, int], has_tensor_cores: bool, has_bf16: bool
) -> None:
    gpu = Gpu(name=name, capability=capability, memory_bytes=0, free_bytes=0)
    assert (gpu.has_tensor_cores, gpu.has_bf16) == (has_tensor_cores, has_bf16)
