"""What this machine has, and what its devices are known to get wrong."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = [
    "Cpu",
    "cpu",
    "has_emulated_tensor_cores",
    "has_nvidia_driver",
    "nvidia_driver_version",
    "usable_memory_bytes",
]

_EMULATED = (
    *("1660", "1650", "1630", "T400", "T500", "T550", "T600", "MX550", "MX450"),
    *("CMP 30HX", "T1000", "T1200", "T2000"),
)


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """The processor as the operating system describes it to this process."""

    name: str
    threads: int  # that this process may keep busy: affinity and cgroup quota counted
    flags: frozenset[str]  # of instruction sets, in Linux's spelling; empty where it is unknown

    @property
    def has_bf16(self) -> bool:
        """Whether bf16 arithmetic has instructions of its own; without them it is emulated."""
        return bool(self.flags & {"avx512_bf16", "amx_bf16"})

    @property
    def gains_from_bf16(self) -> bool:
        """Whether those instructions do more a cycle than float32's.

        AMX does, and AVX512-BF16 on AMD. On Intel without AMX one bf16 unit stands against two of float32: a virtual
        Xeon that hides AMX took 2.3 s for a brain in bf16 and 1.8 s in float32 (OpenVINO, `lite`).
        """
        return "amx_bf16" in self.flags or ("avx512_bf16" in self.flags and "Intel" not in self.name)


@lru_cache(maxsize=1)
def cpu() -> Cpu:
    """This machine's processor."""
    name, flags = platform.processor() or platform.machine(), frozenset[str]()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = frozenset(value.split())
            break
    return Cpu(name=name, threads=_threads(), flags=flags)


def usable_memory_bytes() -> int | None:
    """Memory that this process could still take: free by the operating system, and by its cgroup where one limits it.

    Returns None where neither tells.
    """
    available: int | None = None
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if limit is not None and used is not None:
        # files that were read stay charged until the memory is wanted for something else
        left = max(0, int(limit) - int(used) + _cached_file_bytes())
        available = left if available is None else min(available, left)
    return available


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


def _threads() -> int:
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = (_cgroup("cpu.max") or "").split()
    if len(quota) == 2 and quota[0] != "max":
        affinity = min(affinity, max(1, int(quota[0]) // int(quota[1])))
    return affinity


def _cached_file_bytes() -> int:
    for line in (_cgroup("memory.stat") or "").splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0


def _cgroup(name: str) -> str | None:
    """The text of a cgroup v2 file, or None where there is no limit or no cgroup."""
    try:
        text = Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if text == "max" else text
