"""Stages, ratios and the line that stands beside a number."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from importlib import metadata

import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.measure import Stages, machine_line, paired_ratio, ratio_of

_MIB = 2**20


class _Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def test_a_stage_takes_the_time_inside_its_block(clock: _Clock) -> None:
    stages = Stages()
    with stages.measure("read"):
        clock.spend(2)
    clock.spend(50)
    with stages.measure("network"):
        clock.spend(3)
    assert stages.seconds == {"read": 2, "network": 3}
    assert list(stages.seconds) == ["read", "network"]
    assert stages.total == 5


def test_a_stage_entered_twice_is_added_up(clock: _Clock) -> None:
    stages = Stages()
    for seconds in (2, 5):
        with stages.measure("network"):
            clock.spend(seconds)
    assert stages.seconds == {"network": 7}


def test_a_stage_that_fails_is_counted_and_its_error_passes(clock: _Clock) -> None:
    stages = Stages()

    def fail() -> None:
        with stages.measure("read"):
            clock.spend(4)
            raise KeyError("no t1n")

    with pytest.raises(KeyError, match="no t1n"):
        fail()
    assert stages.seconds == {"read": 4}


def test_stages_without_work_take_no_time() -> None:
    assert Stages().total == 0
    assert Stages().seconds is not Stages().seconds


def test_the_ratio_is_first_over_second(clock: _Clock) -> None:
    assert paired_ratio(lambda: clock.spend(6), lambda: clock.spend(2)) == pytest.approx(3)


def test_a_noisy_machine_slows_both_halves_of_a_pair_and_the_ratio_holds(clock: _Clock) -> None:
    noise = iter([9, 9, 1, 1, 7, 7, 2, 2, 30, 30, 1, 1])
    work = {"first": 4.0, "second": 2.0}
    ratio = paired_ratio(
        lambda: clock.spend(work["first"] * next(noise)), lambda: clock.spend(work["second"] * next(noise)), rounds=5
    )
    assert ratio == pytest.approx(2)


def test_one_outlier_of_five_rounds_does_not_move_the_ratio(clock: _Clock) -> None:
    seconds = iter([1, 2, 2, 1000, 2, 2])  # the warm-up, then five rounds
    assert paired_ratio(lambda: clock.spend(next(seconds)), lambda: clock.spend(1), rounds=5) == pytest.approx(2)


def test_pairs_run_a_b_a_b_after_a_warm_up_that_does_not_count(clock: _Clock) -> None:
    order = []

    def run(name: str, seconds: float) -> None:
        order.append(name)
        clock.spend(1000 if len(order) == 1 else seconds)

    assert paired_ratio(lambda: run("A", 2), lambda: run("B", 1), rounds=1) == pytest.approx(2)
    assert "".join(order) == "ABAB"


@pytest.mark.parametrize("rounds", [0, -1])
def test_a_ratio_of_no_rounds_is_refused(rounds: int) -> None:
    with pytest.raises(ConfigError, match=f"one round or more, got {rounds}"):
        paired_ratio(lambda: None, lambda: None, rounds=rounds)


_TOUCH_AND_FREE = """
from ssa_fast.measure import peak_memory_bytes
before = peak_memory_bytes()
block = bytearray(200 * 2**20)
del block
print(before, peak_memory_bytes())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process its peak memory in this way")
def test_the_peak_grows_by_what_is_touched_and_stays_when_it_is_freed() -> None:
    # in a process of its own: here the peak is that of the largest test before
    done = subprocess.run([sys.executable, "-c", _TOUCH_AND_FREE], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 1 * _MIB < before < 200 * _MIB
    assert 195 * _MIB < after - before < 230 * _MIB  # the kernel counts in batches of pages


def test_the_machine_line_is_one_line_of_device_system_and_versions() -> None:
    line = machine_line("GTX 1650, float32")
    assert line.startswith("GTX 1650, float32; ")
    assert "\n" not in line
    for fact in (platform.system(), f"Python {platform.python_version()}", f"numpy {metadata.version('numpy')}"):
        assert fact in line


def test_the_machine_line_leaves_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "numpy":
            return "9.9"
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    line = machine_line("cpu")
    assert line.endswith("numpy 9.9")
    assert "torch" not in line


@pytest.mark.parametrize(
    ("count", "left", "confidence"),
    [
        (1, 0, 0),
        (2, 0, 0.5),
        (5, 0, 0.9375),
        (6, 0, 0.96875),
        (8, 0, 0.9921875),
        (9, 1, 0.9609375),
        (15, 3, 0.96484375),
    ],
)
def test_an_interval_of_ratios_is_that_of_the_sign_test(count: int, left: int, confidence: float) -> None:
    """Confidences by hand: 1 - 2 P(at most `left` of `count` coins show heads); the tables of the sign test agree."""
    pairs = [(2.0 * place, 2.0) for place in range(count, 0, -1)]  # ratios 1 to count
    ratio = ratio_of(pairs)
    assert (ratio.low, ratio.high, ratio.pairs) == (1 + left, count - left, count)
    assert ratio.median == (count + 1) / 2
    assert ratio.confidence == pytest.approx(confidence)


def test_a_ratio_needs_a_pair() -> None:
    with pytest.raises(ConfigError, match="got none"):
        ratio_of([])
