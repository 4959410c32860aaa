"""Whether the machine is quiet: the processor time that others take, in a short window or over a benchmark.

What is ours is this process, its children, and theirs. What others take is the rest of what the processors did, and the
time that a hypervisor gave to other guests (steal), all by Linux's own counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MOST_FOREIGN", "Meter", "Reading", "foreign_share", "refusal", "watch"]

MOST_FOREIGN = 0.05  # of all processors' time
_WINDOW_S = 2.0
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)  # columns of /proc/stat
_PARENT, _CPU_TIMES = 1, slice(11, 15)  # of /proc/PID/stat behind the name: ppid; utime stime cutime cstime


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Counts of one moment, in ticks."""

    busy: float  # of all processors, steal included
    whole: float  # with idle time
    ours: float


class Meter:
    """What others took since it was made. Where Linux's counts are absent it knows nothing, and says None."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._start = reading(proc)

    def foreign(self) -> float | None:
        """The share of all processors' time, 0 to 1; None where it is not known."""
        end = reading(self._proc)
        return None if self._start is None or end is None else foreign_share(self._start, end)


def watch(seconds: float = _WINDOW_S) -> float | None:
    """The share that others take during a window in which this process sleeps."""
    meter = Meter()
    time.sleep(seconds)
    return meter.foreign()


def refusal(foreign: float | None, most: float = MOST_FOREIGN) -> str | None:
    """Why nothing is recorded, in one line; None where the machine is quiet, or nobody can tell."""
    if foreign is None or foreign <= most:
        return None
    return (
        f"not recorded: other processes take {foreign:.0%} of the processors' time, at most {most:.0%} may be: stop "
        "them, or give --busy, and the record says so"
    )


def foreign_share(start: Reading, end: Reading) -> float:
    """Of two readings: never below 0, for ticks of one count are not those of another."""
    whole = end.whole - start.whole
    foreign = (end.busy - start.busy) - (end.ours - start.ours)
    return round(max(0.0, foreign / whole), 4) if whole > 0 else 0.0


def reading(proc: Path = Path("/proc")) -> Reading | None:
    """The counts now; None where there are none."""
    try:
        first = (proc / "stat").read_text(encoding="ascii").splitlines()[0].split()
    except (OSError, IndexError):
        return None
    ticks = [float(value) for value in first[1:9]]
    if first[0] != "cpu" or len(ticks) < 8:
        return None
    whole = sum(ticks)
    return Reading(busy=whole - ticks[_IDLE] - ticks[_IOWAIT], whole=whole, ours=_ticks_of_tree(proc, os.getpid()))


def _ticks_of_tree(proc: Path, root: int) -> float:
    """Of a process and all below it; those that have ended are counted by who waited for them."""
    processes = dict(_processes(proc))
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    total, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        total += processes.get(pid, (0, 0.0))[1]
        waiting.extend(children.get(pid, ()))
    return total


def _processes(proc: Path) -> Mapping[int, tuple[int, float]]:
    """Parent and ticks of each process that is there."""
    found = {}
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        fields = text.rpartition(")")[2].split()  # the name, which may hold anything, is in brackets
        found[int(folder.name)] = int(fields[_PARENT]), sum(float(value) for value in fields[_CPU_TIMES])
    return found
