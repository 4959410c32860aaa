"""Exponents and drifts of numbers whose answer is known."""

from __future__ import annotations

import pytest

from benchmarks.scaling import drift_of, fitted_power
from ssa_fast.errors import ConfigError


def test_a_power_law_is_found_again() -> None:
    law = fitted_power([(size, 3 * size**1.5) for size in (1, 2, 4, 100)])
    assert law.exponent == pytest.approx(1.5)
    assert law.factor == pytest.approx(3)
    assert law.largest_error == pytest.approx(0, abs=1e-9)
    assert law.at(9) == pytest.approx(81)


def test_a_point_off_the_law_is_told() -> None:
    law = fitted_power([(1, 1), (10, 10), (100, 100), (10, 20)])
    assert 0.3 < law.largest_error < 1


@pytest.mark.parametrize("points", [[(1, 1)], [(2, 1), (2, 3)], [(0, 1), (2, 3)], [(1, -1), (2, 3)]])
def test_what_is_no_law_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ConfigError, match="two sizes or more, all above 0"):
        fitted_power(points)


def test_a_leak_and_a_slow_down_are_seen_and_a_flat_run_is_flat() -> None:
    flat = drift_of([1.0] * 10, [500e6] * 10)
    assert (flat.seconds, flat.resident_mb, flat.resident_mb_a_case) == (1, 0, 0)
    leaking = drift_of([1.0] * 5 + [1.5] * 5, [500e6 + 2e6 * case for case in range(10)])
    assert leaking.seconds == pytest.approx(1.5)
    assert leaking.resident_mb == pytest.approx(10)
    assert leaking.resident_mb_a_case == pytest.approx(2)
    grown_once = drift_of([1.0] * 10, [400e6] * 5 + [500e6] * 5)  # a larger brain came: no leak
    assert grown_once.resident_mb_a_case == pytest.approx(0)


def test_a_drift_needs_cases() -> None:
    with pytest.raises(ConfigError, match="four cases or more"):
        drift_of([1.0] * 3, [1.0] * 3)
