"""How much memory this machine has, and how much of it this process could take."""

from __future__ import annotations

import os
from pathlib import Path

from ssa_fast.hardware.cgroup import cgroup_text

__all__ = ["total_memory_bytes", "usable_memory_bytes"]


def usable_memory_bytes() -> int | None:
    """Memory that this process could still take: free by the operating system, and by its cgroup where one limits it.

    Returns None where neither tells.
    """
    available = _memory("MemAvailable")
    limit, used = cgroup_text("memory.max"), cgroup_text("memory.current")
    if limit is not None and used is not None:
        # files that were read stay charged until the memory is wanted for something else
        left = max(0, int(limit) - int(used) + _cached_file_bytes())
        available = left if available is None else min(available, left)
    return available


def total_memory_bytes() -> int | None:
    """Memory of the machine, or that its cgroup grants where that is less. Returns None where nothing tells."""
    total, limit = _memory("MemTotal"), cgroup_text("memory.max")
    if limit is not None:
        total = int(limit) if total is None else min(total, int(limit))
    return total


def _memory(key: str) -> int | None:
    """Bytes of a line of Linux's meminfo; elsewhere the physical memory, where the system tells it."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _cached_file_bytes() -> int:
    for line in (cgroup_text("memory.stat") or "").splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0
