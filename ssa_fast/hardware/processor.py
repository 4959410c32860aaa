"""The processor, and how much of it this process may use."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ssa_fast.hardware.cgroup import cpu_quota

__all__ = ["Cpu", "cpu"]


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """The processor as the operating system describes it to this process."""

    name: str
    threads: int  # that this process may keep busy: affinity and cgroup quota counted
    flags: frozenset[str]  # of instruction sets, in Linux's spelling; empty where it is unknown
    cores: int | None = None  # physical ones; None where only logical ones are told
    logical_cores: int = 0  # that this process may be placed on, its quota not counted; 0: not told
    quota: float | None = None  # cores' worth of time that a cgroup grants; None: no limit

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
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        text = ""
    name, flags = _name_and_flags(text)
    logical, quota = _logical_cores(), cpu_quota()
    return Cpu(
        name=name or _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine(),
        threads=logical if quota is None else min(logical, max(1, int(quota))),
        flags=flags,
        cores=_physical_cores(text),
        logical_cores=logical,
        quota=quota,
    )


def _name_and_flags(cpuinfo: str) -> tuple[str, frozenset[str]]:
    """Of the first core: the others are its like, or weaker ones that the system may not tell apart."""
    name = ""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            return name, frozenset(value.split())
    return name, frozenset()


def _physical_cores(cpuinfo: str) -> int | None:
    """Different pairs of socket and core. ARM's cpuinfo has neither."""
    socket, cores = "", set()
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "physical id":
            socket = value.strip()
        elif key.strip() == "core id":
            cores.add((socket, value.strip()))
    told = _sysctl("hw.physicalcpu")
    return len(cores) or (int(told) if told.isdigit() else None)


def _logical_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sysctl(name: str) -> str:
    """What a Mac tells of itself; nothing on other systems."""
    if platform.system() != "Darwin":
        return ""
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
