"""Time, memory and the machine's description: what every measured number stands beside."""

from __future__ import annotations

import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from ssa_fast.errors import ConfigError

__all__ = [
    "Ratio",
    "Stages",
    "installed_versions",
    "machine_line",
    "paired_ratio",
    "peak_memory_bytes",
    "ratio_of",
    "resident_bytes",
]

_QUOTED_PACKAGES = ("ssa-fast", "numpy", "torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")


@dataclass
class Stages:
    """Seconds a stage of one piece of work took, in the order in which they ended."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time inside the `with` block to `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


def peak_memory_bytes() -> int:
    """The most resident memory that this process has had at once, code and libraries included.

    Returns 0 where the operating system does not tell.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """Resident memory of this process now; where that is not told, its peak so far, or 0."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_memory_bytes()
    return pages * os.sysconf("SC_PAGE_SIZE")


def paired_ratio(first: Callable[[], object], second: Callable[[], object], rounds: int = 7) -> float:
    """How many times as long `first` takes as `second`: the median over pairs run A B A B, after one warm-up each.

    A noisy machine slows both halves of a pair, so the ratio holds where the times do not.
    Raises ConfigError if `rounds` is below 1.
    """
    if rounds < 1:
        raise ConfigError(f"need one round or more, got {rounds}")
    first()
    second()
    ratios = []
    for _ in range(rounds):
        start = time.perf_counter()
        first()
        middle = time.perf_counter()
        second()
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return statistics.median(ratios)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as long one thing takes as another: the median over pairs, and an interval for it."""

    median: float
    low: float
    high: float
    confidence: float  # chance that the interval holds the true median; few pairs cannot give more
    pairs: int

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def ratio_of(pairs: Sequence[tuple[float, float]], confidence: float = 0.95) -> Ratio:
    """The ratio first / second of pairs of seconds that were measured A B A B.

    The interval is the narrowest pair of ratios, equally far from either end of their order, that holds the true median
    with `confidence`, or from the least to the greatest where even that does not: it assumes no distribution. Five
    pairs give 0.94 from the least to the greatest, six 0.97, nine 0.96 from the second to the second last.

    Raises ConfigError for no pair. Source: the sign test's interval (Conover, Practical Nonparametric Statistics).
    """
    if not pairs:
        raise ConfigError("need one pair or more, got none")
    ratios = sorted(first / second for first, second in pairs)
    count = len(ratios)
    left, reached = 0, 1 - 2 / 2**count  # of the whole range: all pairs fall on one side by chance
    while left + 1 < count // 2:
        narrower = reached - 2 * math.comb(count, left + 1) / 2**count
        if narrower < confidence:
            break
        left, reached = left + 1, narrower
    return Ratio(
        median=statistics.median(ratios), low=ratios[left], high=ratios[-1 - left], confidence=reached, pairs=count
    )


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Package -> version, in the order given; those that are not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine_line(device: str) -> str:
    """The machine and the versions that a measurement was made with, in one line; `device` is what ran it."""
    versions = [f"{package} {version}" for package, version in installed_versions(_QUOTED_PACKAGES).items()]
    return (
        f"{device}; {platform.system()} {platform.machine()}, Python {platform.python_version()}, {', '.join(versions)}"
    )
