"""The most that this machine was seen to do, by what is installed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import util

import numpy as np

from ssa_fast import hardware
from ssa_fast.model.roofline import Ceiling

__all__ = ["measured_ceiling"]

_SECONDS = 0.2  # a yardstick, beyond its first call
_EDGE = 1024  # of the matrices
_COPIED_BYTES = 2**28  # no cache holds it


def measured_ceiling() -> Ceiling:
    """Measured by torch on what it computes on; where torch is absent, by numpy on the processor in float32.

    Takes a second or two and 0.6 GB.
    """
    if util.find_spec("torch") is not None:
        from ssa_fast.train import peak

        return peak.measured_ceiling()
    return _numpy_ceiling()


def _numpy_ceiling() -> Ceiling:
    generator = np.random.default_rng(0)
    one, other = (generator.standard_normal((_EDGE, _EDGE), dtype=np.float32) for _ in range(2))
    return Ceiling(
        device=hardware.cpu().name,
        peaks={"float32": 2 * _EDGE**3 / _best_seconds(lambda: one @ other)},
        bandwidth=_copies_per_second() * 2 * _COPIED_BYTES,
        source=f"measured now by numpy {np.__version__}: a matrix product by its BLAS; memory by a copy of 256 MiB on "
        f"{hardware.cpu().threads} thread(s), read and written",
    )


def _copies_per_second() -> float:
    """By several threads, each a part: numpy copies by one, which cannot fill the memory's bandwidth everywhere."""
    threads = hardware.cpu().threads
    sources = np.array_split(np.ones(_COPIED_BYTES, dtype=np.uint8), threads)
    targets = np.array_split(np.empty(_COPIED_BYTES, dtype=np.uint8), threads)
    with ThreadPoolExecutor(threads) as pool:
        return 1 / _best_seconds(lambda: list(pool.map(np.copyto, targets, sources)))


def _best_seconds(work: Callable[[], object]) -> float:
    work()  # threads begin, pages are mapped
    best, end = math.inf, time.perf_counter() + _SECONDS
    while best == math.inf or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
