"""How a cost grows: the exponent of a power law through measured points, and whether memory stays where it was."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ssa_fast.errors import ConfigError

__all__ = ["Drift", "PowerLaw", "drift_of", "fitted_power"]


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """cost = factor * size ** exponent."""

    exponent: float
    factor: float
    largest_error: float  # of a point, as a share of what the law says there

    def at(self, size: float) -> float:
        """What the law says of a size."""
        return float(self.factor * size**self.exponent)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The second half of a long run beside its first."""

    seconds: float  # times as long a case, of medians
    resident_mb: float  # more, of medians
    resident_mb_a_case: float  # by the line through the second half; what leaks shows here


def fitted_power(points: Sequence[tuple[float, float]]) -> PowerLaw:
    """Through (size, cost), by least squares of the logarithms: each point counts by its share, not by its size.

    Raises ConfigError for fewer than two sizes, or what is not above 0.
    """
    if len({size for size, _ in points}) < 2 or min(min(point) for point in points) <= 0:
        raise ConfigError(f"a power law needs two sizes or more, all above 0, got {list(points)}")
    sizes, costs = ([math.log(value) for value in values] for values in zip(*points, strict=True))
    exponent, offset = statistics.linear_regression(sizes, costs)
    law = PowerLaw(exponent=exponent, factor=math.exp(offset), largest_error=0.0)
    error = max(abs(cost / law.at(size) - 1) for size, cost in points)
    return PowerLaw(exponent=exponent, factor=law.factor, largest_error=error)


def drift_of(seconds: Sequence[float], resident_bytes: Sequence[float]) -> Drift:
    """Of cases that one process did one after the other. Raises ConfigError for fewer than four."""
    if len(seconds) < 4 or len(seconds) != len(resident_bytes):
        raise ConfigError(f"a drift needs four cases or more, got {len(seconds)} and {len(resident_bytes)}")
    half = len(seconds) // 2
    first, second = statistics.median(resident_bytes[:half]), statistics.median(resident_bytes[half:])
    late = resident_bytes[half:]
    slope = statistics.linear_regression(list(range(len(late))), list(late)).slope
    return Drift(
        seconds=statistics.median(seconds[half:]) / statistics.median(seconds[:half]),
        resident_mb=(second - first) / 1e6,
        resident_mb_a_case=slope / 1e6,
    )
