"""How cost grows: with the volume, with cases, with threads, and with the memory that is granted.

    pytest benchmarks/bench_scaling.py --benchmark-only -s --records benchmarks/results/0.1.0 [--bundle BUNDLE]

Volume and threads: one pass of the network from arrays to labels, each shape in a process of its own; the exponent is
that of a power law through the voxels. Cases: one process that segments small phantoms again and again, files to files.
Memory granted: `ssa-fast infer --max-ram` of one case, which cuts the brain into windows where one pass is too large.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import quiet
from benchmarks.command import infer
from benchmarks.engine_process import EngineProcess, Setup
from benchmarks.records import commit, machine_facts, preset_of
from benchmarks.scaling import drift_of, fitted_power
from ssa_fast import hardware
from ssa_fast.backends import available_backends
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.case import CaseFiles

Shape = tuple[int, int, int]

SHAPES: tuple[Shape, ...] = (
    (64, 64, 64),
    (96, 96, 96),
    (128, 128, 128),
    (144, 176, 144),
    (192, 192, 160),
    (240, 240, 160),
)
SMALL_SHAPES: tuple[Shape, ...] = ((16, 16, 16), (32, 32, 32))
GRANTED = ("0.75GB", "1GB", "1.5GB", "2GB", "4GB")
SOAK_CASES, FEW = 100, 4
PHANTOMS = 4  # of the soak: they differ, and are met again and again
MOST_SLOWER, MOST_MB_A_CASE = 1.15, 0.5  # of the soak's second half


@pytest.fixture
def bundle(benchmark: BenchmarkFixture, asked_bundle: Path, request: pytest.FixtureRequest) -> Bundle:
    return read_bundle(request.getfixturevalue("tiny") if benchmark.disabled else asked_bundle)


def _setup(bundle: Bundle, threads: int = 0) -> Setup:
    """OpenVINO in this machine's precision, or what else is installed."""
    backend = available_backends()[0]
    has_bf16 = hardware.cpu().gains_from_bf16 and backend != "ort"
    return Setup(bundle=str(bundle.path), backend=backend, precision="bf16" if has_bf16 else "float32", threads=threads)


def _about(bundle: Bundle, what: str) -> dict[str, Any]:
    return {
        "what": what,
        "command": "pytest benchmarks/bench_scaling.py --benchmark-only -s --records FOLDER [--bundle BUNDLE]",
        "network": preset_of(bundle.spec),
        "bundle_sha256": bundle.sha256,
        "machine": machine_facts(),
        "commit": commit(),
    }


def _point(setup: Setup, shape: Shape, rounds: int, folder: Path) -> dict[str, Any]:
    """Noise: the network's arithmetic does not ask what it is given."""
    windows = np.random.default_rng(0).standard_normal((1, 4, *shape), dtype=np.float32)
    with EngineProcess(setup, windows, folder / "x".join(map(str, shape))) as process:
        before = process.run()  # compiles
        answers = [process.run() for _ in range(rounds)]
    return {
        "shape": list(shape),
        "voxels": int(np.prod(shape)),
        "seconds": round(statistics.median(answer.seconds for answer in answers), 4),
        "first_seconds": round(before.seconds, 4),
        "peak_bytes": answers[-1].peak_bytes,
        "device": process.device,
    }


@pytest.mark.benchmark(group="scaling")
def bench_scaling_with_volume_and_threads(
    benchmark: BenchmarkFixture, bundle: Bundle, rounds: int, tmp_path: Path, keep_record: Any
) -> None:
    meter, shapes = quiet.Meter(), SMALL_SHAPES if benchmark.disabled else SHAPES
    points = [_point(_setup(bundle), shape, rounds, tmp_path) for shape in shapes]
    time_law = fitted_power([(point["voxels"], point["seconds"]) for point in points])
    threads = []
    for count in range(1, hardware.cpu().threads + 1) if not benchmark.disabled else [1]:
        point = _point(_setup(bundle, count), shapes[min(2, len(shapes) - 1)], rounds, tmp_path / str(count))
        threads.append({"threads": count} | point)
    growth = statistics.linear_regression(
        [point["voxels"] for point in points], [point["peak_bytes"] for point in points]
    )
    record = _about(bundle, "one pass of the network by shape, and by threads at 128^3") | {
        "foreign_share": meter.foreign(),
        "volume": points,
        "seconds_by_voxels": asdict(time_law),
        "peak_bytes_a_voxel": round(growth.slope, 1),
        "peak_bytes_without_a_voxel": round(growth.intercept),
        "threads": threads,
        "times_as_fast_with_all_threads": round(threads[0]["seconds"] / threads[-1]["seconds"], 3),
    }
    print(
        f"seconds grow with voxels to the power of {time_law.exponent:.2f}, memory by {growth.slope:.0f} bytes a voxel"
    )
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(record)
    keep_record(f"scaling-volume-{record['network']}", record)


@pytest.mark.benchmark(group="scaling")
def bench_soak(benchmark: BenchmarkFixture, bundle: Bundle, tmp_path: Path, keep_record: Any) -> None:
    """Memory flat, no slow-down: a leak of a hundredth of a brain a case would be seen."""
    from tests.cases import write_case

    count, shape = (FEW, (24, 20, 18)) if benchmark.disabled else (SOAK_CASES, (96, 88, 80))
    cases = [write_case(tmp_path, f"Soak-{place:03d}", shape=shape, seed=place) for place in range(PHANTOMS)]
    command = [sys.executable, "-m", "benchmarks.soak_worker", str(bundle.path), str(count), str(tmp_path / "out")]
    meter = quiet.Meter()
    done = subprocess.run([*command, *map(str, cases)], check=True, capture_output=True, text=True, cwd=_ROOT)
    told = json.loads(done.stdout.splitlines()[-1])
    drift = drift_of(told["seconds"], told["resident_bytes"])
    record = _about(bundle, f"{count} small cases in one process, files to files, one after the other") | {
        "foreign_share": meter.foreign(),
        "device": told["device"],
        "cases": count,
        "shape": list(shape),
        "seconds": [round(one, 4) for one in told["seconds"]],
        "resident_mb": [round(one / 1e6, 1) for one in told["resident_bytes"]],
        "peak_bytes": told["peak_bytes"],
        "second_half_by_first": asdict(drift),
    }
    print(f"soak of {count}: {drift}")
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(record)
    keep_record(f"scaling-cases-{record['network']}", record)
    assert benchmark.disabled or drift.resident_mb_a_case <= MOST_MB_A_CASE
    assert benchmark.disabled or drift.seconds <= MOST_SLOWER


@pytest.mark.benchmark(group="scaling")
def bench_scaling_with_memory_granted(
    benchmark: BenchmarkFixture,
    bundle: Bundle,
    case_files: CaseFiles,
    tiny_case: CaseFiles,
    tmp_path: Path,
    keep_record: Any,
) -> None:
    case, granted = (tiny_case, GRANTED[-1:]) if benchmark.disabled else (case_files, GRANTED)
    meter, rows = quiet.Meter(), []
    for budget in granted:
        try:
            options = ["--bundle", str(bundle.path), "--max-ram", budget, "--force"]
            run = infer([case.folder], tmp_path / budget, *options)
        except RuntimeError as error:  # it does not fit: refused, in one line
            rows.append({"granted": budget, "fits": False, "said": str(error).strip().splitlines()[-1]})
            continue
        [passes], [seconds] = run.passes.values(), run.network_seconds.values()
        taken = {"peak_gb": run.peak_gb, "passes": passes, "network_seconds": round(seconds, 3)}
        rows.append({"granted": budget, "fits": True} | taken)
        assert run.peak_gb <= float(budget.removesuffix("GB"))
    record = _about(bundle, "one case by the command line within granted memory") | {
        "case": case.name,
        "foreign_share": meter.foreign(),
        "budgets": rows,
    }
    print(json.dumps(rows, indent=1))
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(record)
    keep_record(f"scaling-memory-{record['network']}", record)


_ROOT = Path(__file__).resolve().parents[1]
