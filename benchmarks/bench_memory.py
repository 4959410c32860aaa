"""What a plan says of memory, held against what the process took: over a cohort, and within what was granted.

Each run is `ssa-fast infer` in a process of its own; its peak is the kernel's high-water mark of resident memory. The
figure is the largest plan over the peak: below 0.95 a plan promises too much, above 1.2 it scares users away. Seconds
are not compared. With `--benchmark-disable` two cases do, and no limit holds, for fewer cases meet less often.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.bench_infer import RUNS
from ssa_fast.backends import Choice
from ssa_fast.infer.record import RESULTS
from ssa_fast.volume.phantom import write_phantoms

REAL_CASES = Path(__file__).resolve().parents[2] / "shared" / "ssa"
LEAST, MOST = 0.95, 1.2  # of planned over measured
LARGEST_PEAK = 2_000_000_000  # bytes, of a cohort

every_run = pytest.mark.parametrize(("name", "precision"), RUNS, ids=["-".join(run) for run in RUNS])


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The fifteen real cases, or two phantoms."""
    if REAL_CASES.is_dir():
        return sorted(path for path in REAL_CASES.iterdir() if path.is_dir())
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), cases=2, seed=0)


def _infer(cases: list[Path], out: Path, *options: str) -> tuple[int, int]:
    """Bytes of the largest plan, and the peak of the process."""
    given = ["infer", *map(str, cases), "--out", str(out), *options]
    done = subprocess.run([sys.executable, "-m", "ssa_fast", *given], capture_output=True, text=True, check=True)
    peak = re.search(r"peak memory ([0-9.]+) GB", done.stdout)
    assert peak is not None, done.stdout
    lines = (out / RESULTS).read_text().splitlines()
    assert len(lines) == len(cases)
    return max(json.loads(line)["plan"]["peak_bytes"] for line in lines), int(float(peak[1]) * 1e9)


@every_run
@pytest.mark.parametrize("count", [1, 15])
def bench_a_plan_tells_what_the_process_will_take(
    benchmark: BenchmarkFixture, name: str, precision: Choice, count: int, cohort: list[Path], tmp_path: Path
) -> None:
    cases = cohort[: 2 if benchmark.disabled else count]
    options = ("--backend", name, "--precision", precision)
    planned, peak = benchmark.pedantic(lambda: _infer(cases, tmp_path, *options), rounds=1)
    benchmark.extra_info.update(cases=len(cases), planned_bytes=planned, peak_bytes=peak, ratio=planned / peak)
    print(f"{name} {precision}, {len(cases)} cases: {planned / 1e9:.2f} GB planned, {peak / 1e9:.2f} GB taken")
    assert peak < LARGEST_PEAK
    assert benchmark.disabled or LEAST <= planned / peak <= MOST


@every_run
@pytest.mark.parametrize("granted", ["1GB", "750MB"])
def bench_what_is_granted_is_not_exceeded(
    benchmark: BenchmarkFixture, name: str, precision: Choice, granted: str, cohort: list[Path], tmp_path: Path
) -> None:
    cases = cohort[:2] if benchmark.disabled else cohort
    options = ("--backend", name, "--precision", precision, "--max-ram", granted)
    planned, peak = benchmark.pedantic(lambda: _infer(cases, tmp_path, *options), rounds=1)
    benchmark.extra_info.update(cases=len(cases), planned_bytes=planned, peak_bytes=peak)
    print(f"{name} {precision}, {granted}: {planned / 1e9:.2f} GB planned, {peak / 1e9:.2f} GB taken")
    assert peak <= {"1GB": 1_000_000_000, "750MB": 750_000_000}[granted]
