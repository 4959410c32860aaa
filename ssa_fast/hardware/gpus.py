"""NVIDIA's GPUs and their driver, as the driver itself tells: by NVML, or by the program nvidia-smi."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssa_fast.errors import BackendUnavailable

__all__ = [
    "CUDA13_DRIVER",
    "Gpu",
    "Gpus",
    "find_gpus",
    "has_emulated_tensor_cores",
    "has_nvidia_driver",
    "nvidia_driver_version",
    "open_nvml",
]

CUDA13_DRIVER = 580
"""The least driver for CUDA 13.x. Source: NVIDIA's release notes of the CUDA toolkit 13.0."""

_EMULATED = (
    *("1660", "1650", "1630", "T400", "T500", "T550", "T600", "MX550", "MX450"),
    *("CMP 30HX", "T1000", "T1200", "T2000"),
)
_SMI_COLUMNS = "name,compute_cap,memory.total,memory.free,driver_version"
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU of NVIDIA's."""

    name: str
    capability: tuple[int, int]  # compute capability; (0, 0) where the driver does not tell
    memory_bytes: int
    free_bytes: int  # when it was asked

    @property
    def has_tensor_cores(self) -> bool:
        """Since capability 7.0, save the chips that only say 7.5. Source: NVIDIA's CUDA programming guide."""
        return self.capability >= (7, 0) and not has_emulated_tensor_cores(self.name)

    @property
    def has_bf16(self) -> bool:
        """Whether bf16 arithmetic has instructions of its own: since capability 8.0, below it is emulated."""
        return self.capability >= (8, 0)


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """All GPUs of this machine, and the driver that tells of them."""

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""  # version, such as 550.54.14; empty where there is none, "unknown" where it does not tell
    cuda: str = ""  # the newest CUDA that the driver serves, such as 12.4; empty where it does not tell
    told_by: str = ""  # "NVML" or "nvidia-smi"; else why neither could be asked


def find_gpus() -> Gpus:
    """The GPUs that NVML tells of, or nvidia-smi where NVML cannot be asked; none without a driver."""
    if not has_nvidia_driver():
        return Gpus(told_by="no driver for NVIDIA GPUs is loaded")
    try:
        nvml = open_nvml()
    except BackendUnavailable as error:
        return _by_smi(str(error))
    try:
        return _by_nvml(nvml)
    except nvml.NVMLError as error:
        return _by_smi(f"NVML: {error}")
    finally:
        nvml.nvmlShutdown()


def open_nvml() -> Any:
    """The module pynvml, begun: whoever asks for it ends it with `nvmlShutdown`.

    Raises BackendUnavailable, in Python's or the driver's words, where nvidia-ml-py is missing or the driver refuses.
    """
    try:
        import pynvml
    except ImportError as error:
        raise BackendUnavailable(str(error)) from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise BackendUnavailable(str(error)) from error
    return pynvml


def has_nvidia_driver() -> bool:
    """Whether a driver for NVIDIA GPUs is loaded (Linux) or installed (Windows), found without any library."""
    if platform.system() == "Windows":
        return Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll").exists()
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/dxg").exists()  # the second: under WSL


def nvidia_driver_version() -> str:
    """The driver's version, such as 550.54.14, where Linux tells it; else "unknown"."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "unknown"
    found = re.search(r"\b[0-9]+\.[0-9]+(\.[0-9]+)?\b", text)
    return found[0] if found else "unknown"


def has_emulated_tensor_cores(gpu_name: str) -> bool:
    """Whether a GPU says compute capability 7.5 but has no tensor cores.

    Libraries that choose kernels by capability run FP16 there in emulation: 5 to 20 times slower than
    FP32, and sometimes NaN. Source: cards of NVIDIA's TU116 and TU117 chips, by name.
    """
    return any(word in gpu_name for word in _EMULATED)


def _by_nvml(nvml: Any) -> Gpus:
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        name = nvml.nvmlDeviceGetName(handle)
        found.append(
            Gpu(name=name, capability=(int(major), int(minor)), memory_bytes=memory.total, free_bytes=memory.free)
        )
    thousands, rest = divmod(nvml.nvmlSystemGetCudaDriverVersion(), 1000)  # 12040 is 12.4
    return Gpus(
        gpus=tuple(found), driver=nvml.nvmlSystemGetDriverVersion(), cuda=f"{thousands}.{rest // 10}", told_by="NVML"
    )


def _by_smi(refusal: str) -> Gpus:
    """`refusal` is why NVML was not asked."""
    command = ["nvidia-smi", f"--query-gpu={_SMI_COLUMNS}", "--format=csv,noheader,nounits"]
    driver = nvidia_driver_version()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return Gpus(driver=driver, told_by=f"{refusal}; nvidia-smi: {error.strerror}")
    if done.returncode != 0:
        first = ((done.stdout + done.stderr).strip().splitlines() or [f"exit code {done.returncode}"])[0]
        return Gpus(driver=driver, told_by=f"{refusal}; nvidia-smi: {first}")
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    if not all(len(row) == len(_SMI_COLUMNS.split(",")) for row in rows):
        return Gpus(driver=driver, told_by=f"{refusal}; nvidia-smi: {done.stdout.splitlines()[0]}")
    gpus = tuple(_smi_gpu(row) for row in rows)
    return Gpus(gpus=gpus, driver=rows[0][-1] if rows else driver, told_by="nvidia-smi")


def _smi_gpu(row: list[str]) -> Gpu:
    """Sizes are in MiB; what a card does not tell is "[N/A]"."""
    name, capability, total, free, _ = row
    major, _, minor = capability.partition(".")
    return Gpu(
        name=name,
        capability=(int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0),
        memory_bytes=int(total) * _MIB if total.isdigit() else 0,
        free_bytes=int(free) * _MIB if free.isdigit() else 0,
    )
