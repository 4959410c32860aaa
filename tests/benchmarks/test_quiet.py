"""What others take of the processor is told from what is ours."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.quiet import Meter, Reading, foreign_share, reading, refusal


def _proc(folder: Path, cpu: str, processes: dict[int, tuple[int, int]]) -> Path:
    """A /proc of Linux's form: the line of all processors, and parent and ticks of each process."""
    folder.mkdir(exist_ok=True)
    (folder / "stat").write_text(f"cpu  {cpu} 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    for pid, (parent, ticks) in processes.items():
        (folder / str(pid)).mkdir(exist_ok=True)
        between = " ".join(["0"] * 9)
        (folder / str(pid) / "stat").write_text(f"{pid} (a (b) c) S {parent} {between} {ticks} 1 2 3 20 0\n")
    return folder


def test_ours_is_this_process_and_all_below_it(tmp_path: Path) -> None:
    """User 100, nice 10, system 20, idle 500, iowait 5, irq 1, softirq 2, steal 12: 650, of which 145 busy."""
    own = os.getpid()
    tree = {1: (0, 1000), own: (1, 10), own + 1: (own, 20), own + 2: (own + 1, 30), own + 3: (1, 1000)}
    found = reading(_proc(tmp_path, "100 10 20 500 5 1 2 12", tree))
    assert found == Reading(busy=145, whole=650, ours=(10 + 6) + (20 + 6) + (30 + 6))


def test_the_share_is_of_all_processors_time_and_never_negative() -> None:
    start = Reading(busy=100, whole=1000, ours=50)
    assert foreign_share(start, Reading(busy=160, whole=1200, ours=90)) == 0.1
    assert foreign_share(start, Reading(busy=160, whole=1200, ours=120)) == 0
    assert foreign_share(start, start) == 0


def test_without_linuxs_counts_nothing_is_known_and_nothing_refused(tmp_path: Path) -> None:
    assert reading(tmp_path) is None
    assert Meter(tmp_path).foreign() is None
    assert refusal(None) is None


def test_a_busy_machine_is_refused_in_one_line() -> None:
    assert refusal(0.04) is None
    said = refusal(0.42)
    assert said is not None
    assert "other processes take 42% of the processors' time" in said
    assert "--busy" in said
    assert "\n" not in said


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux's /proc")
def test_work_of_a_child_is_ours() -> None:
    """Before it has ended, and after: what it took is never called foreign."""
    start = reading()
    code = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        deadline = time.monotonic() + 60
        while (during := reading()) is not None and start is not None and during.ours - start.ours < 25:
            assert time.monotonic() < deadline, "a child that works is not seen"
        assert child.stdin is not None
        child.stdin.close()
    end = reading()
    assert start is not None
    assert end is not None
    assert end.ours - start.ours >= 30 * os.sysconf("SC_CLK_TCK") / 100 - 2
