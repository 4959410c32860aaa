"""Memory that is freed goes back: seen in a process of its own, for the setting is the whole process's."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from ssa_fast.hardware import keep_freed_memory, keep_heap_small

# Eight threads free 100 arrays of 8 MB one after the other; what lies idle of them is what the process then holds.
_CHURN = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from ssa_fast.hardware import keep_heap_small
from ssa_fast.measure import resident_bytes

if sys.argv[1] == "small":
    assert keep_heap_small()
before = resident_bytes()

def churn(_):
    held = [np.ones(1_000_000) for _ in range(3)]
    kept = np.ones(10)
    del held
    return kept

with ThreadPoolExecutor(8) as threads:
    kept = list(threads.map(churn, range(100)))
    print(resident_bytes() - before)
"""


# Large arrays of less than 20 MB, each with a small one behind it that stays: in one heap they would leave holes.
_HOLES = """
import numpy as np
from ssa_fast.hardware import keep_heap_small
from ssa_fast.measure import resident_bytes

assert keep_heap_small()
before = resident_bytes()
held = [(np.ones(625_000), np.ones(6_250)) for _ in range(30)]
kept = [small for _, small in held]
del held
print(resident_bytes() - before)
"""


# The same large array again and again: how many pages the operating system has to hand out for it.
_AGAIN = """
import resource, sys
import numpy as np
from ssa_fast.hardware import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
np.ones(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(20_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _idle_bytes(setting: str) -> int:
    return int(subprocess.run([sys.executable, "-c", _CHURN, setting], check=True, capture_output=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_threads_leave_little_idle_memory_behind() -> None:
    assert _idle_bytes("small") < 0.7 * _idle_bytes("plain")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_large_arrays_leave_no_holes() -> None:
    done = subprocess.run([sys.executable, "-c", _HOLES], check=True, capture_output=True)
    assert int(done.stdout) < 20_000_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_kept_memory_is_not_asked_for_again() -> None:
    kept, plain = (
        int(subprocess.run([sys.executable, "-c", _AGAIN, setting], check=True, capture_output=True).stdout)
        for setting in ("kept", "plain")
    )
    assert kept < 0.01 * plain


def test_elsewhere_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert not keep_heap_small()
    assert not keep_freed_memory()
