"""The limits that a container or a service manager puts on this process (Linux, cgroup v2)."""

from __future__ import annotations

from pathlib import Path

__all__ = ["cgroup_text", "cpu_quota"]


def cgroup_text(name: str) -> str | None:
    """The text of a cgroup v2 file, or None where there is no limit or no cgroup."""
    try:
        text = Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if text == "max" else text


def cpu_quota() -> float | None:
    """How many processors' worth of time this process may take, such as 2.5; None where there is no limit."""
    quota = (cgroup_text("cpu.max") or "").split()
    if len(quota) != 2 or quota[0] == "max":
        return None
    return int(quota[0]) / int(quota[1])
