"""The record of a suite: its rows, its yardstick, its machine, and when it is not written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import plain_convolution
from benchmarks.plain_convolution import Yardstick
from benchmarks.suite import FORM, Suite, row_of
from ssa_fast.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
BENCH = """
import time

def bench_a_nap(benchmark):
    benchmark.extra_info["label_agreement"] = 1.0
    benchmark.pedantic(time.sleep, (0.01,), rounds=3)
"""


def _row(median: float = 1.0) -> dict[str, Any]:
    return {"group": "g", "seconds": {"median": median}, "about": {}}


def test_a_yardstick_is_measured_with_the_machines_threads_and_leaves_them_alone() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    yardstick = Yardstick()
    yardstick.measure(2)
    yardstick.measure(1)
    assert torch.get_num_threads() == before
    told = yardstick.summary()
    assert told["calls"] == 3
    assert 0 < told["min"] <= told["median"] <= told["max"]


def test_rows_of_an_earlier_run_on_this_machine_stay_until_they_are_measured_again(tmp_path: Path) -> None:
    first = Suite(folder=tmp_path)
    first.add("one", _row(1))
    first.add("two", _row(2))
    second = Suite(folder=tmp_path, is_busy=True)
    second.add("two", _row(3))
    assert second.path is not None
    record = json.loads(second.path.read_text())
    assert record["form"] == FORM
    assert [row["seconds"]["median"] for row in record["rows"].values()] == [1, 3]
    assert [row["is_busy"] for row in record["rows"].values()] == [False, True]
    assert record["machine"]["threads"] >= 1


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (("machine", "memory_gb"), "its memory_gb is another, here"),
        (("machine", "versions", "numpy"), "its numpy is another, here"),
        (("yardstick",), "its yardstick is another, here"),
        (("form",), "its form is another, here"),
    ],
)
def test_a_record_of_another_machine_version_or_yardstick_is_refused_and_kept(
    way: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    path, record = _recorded(tmp_path)
    place = record
    for key in way[:-1]:
        place = place[key]
    place[way[-1]] = "another"
    path.write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=words):
        Suite(folder=tmp_path)
    assert json.loads(path.read_text()) == record


def test_what_only_one_of_two_runs_had_installed_is_of_both(tmp_path: Path) -> None:
    path, record = _recorded(tmp_path)
    record["machine"]["versions"]["monai"] = "1.2"
    del record["machine"]["versions"]["numpy"]
    path.write_text(json.dumps(record))
    Suite(folder=tmp_path).add("two", _row())
    found = json.loads(path.read_text())
    assert found["machine"]["versions"] == {**record["machine"]["versions"], "numpy": np.__version__}
    assert found["rows"].keys() == {"one", "two"}


def _recorded(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The path of a record of one row, and what is in it."""
    suite = Suite(folder=folder)
    suite.add("one", _row())
    assert suite.path is not None
    return suite.path, json.loads(suite.path.read_text())


def test_nothing_is_written_where_nobody_asked(tmp_path: Path) -> None:
    suite = Suite(folder=None)
    suite.add("one", _row())
    assert suite.path is None
    assert suite.record()["rows"].keys() == {"one"}


def _pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of the suite's own plumbing over a benchmark that sleeps."""
    bench = folder / "bench_naps.py"
    bench.write_text(BENCH)
    command = [sys.executable, "-m", "pytest", str(bench), "-q", "-p", "benchmarks.conftest", "-c", "pyproject.toml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", *options],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_benchmark_becomes_a_row_beside_its_yardstick(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "--benchmark-only", "--records", str(tmp_path / "records"), "--busy")
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (tmp_path / "records").glob("*.json")
    record = json.loads(path.read_text())
    assert record["yardstick"] == plain_convolution.NAME
    [(name, row)] = record["rows"].items()
    assert name == "bench_a_nap"
    assert 0.01 <= row["seconds"]["min"] <= row["seconds"]["median"] < 10
    assert row["seconds"]["rounds"] == 3
    assert row["yardstick_seconds"]["calls"] == 8
    assert row["times_the_yardstick"] == pytest.approx(
        row["seconds"]["median"] / row["yardstick_seconds"]["median"], abs=1e-4
    )
    assert row["about"] == {"label_agreement": 1.0}
    assert "targets" in done.stdout


def test_a_row_with_a_record_of_its_own_says_of_what_and_of_which_network() -> None:
    laps = SimpleNamespace(median=1.0, q1=1.0, q3=1.0, min=1.0, max=1.0, rounds=1)
    info = {"what": "a cohort", "network": "fast", "forms": {}}
    benchmark = SimpleNamespace(stats=SimpleNamespace(stats=laps), extra_info=info, group="g")
    yardstick = Yardstick()
    yardstick.measure()
    assert row_of(benchmark, yardstick, 0.0)["about"] == {"what": "a cohort", "network": "fast"}


def test_without_measuring_nothing_is_recorded(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "--benchmark-disable", "--records", str(tmp_path / "records"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "records").exists()


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux's /proc")
def test_a_busy_machine_is_not_recorded(tmp_path: Path) -> None:
    """Two processes that work, both of this test: foreign to the run that it starts."""
    work = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(work) for _ in range(2)]
    try:
        done = _pytest(tmp_path, "--benchmark-only", "--records", str(tmp_path / "records"))
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert done.returncode == 4, done.stdout + done.stderr
    assert "not recorded: other processes take" in done.stderr
    assert not (tmp_path / "records").exists()
