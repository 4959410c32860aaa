"""One patch of 4 x 128^3: each backend in each precision with each network, in a process of its own.

    pytest benchmarks/bench_patch.py --benchmark-only -s [--bundle BUNDLE] [--int8-bundle INT8.onnx]

Timed is one call of the network, arrays in memory to labels in memory; opening it and the first call, which compiles
for the shape, stand apart. `lite` has its own weights and another network those of `--bundle` where that is one, else
random ones, whose labels are worth nothing but to be compared, and in int8, calibrated on a tiny case, not even that.
Beside each row: share of the brain's voxels with the labels of torch float32, operations a second and their share of
the best that this machine was seen to do in that precision a moment later (the multiplications and additions of
convolutions are counted, nothing else), the process's peak memory, and the GPU's.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.engine_process import EngineProcess, Setup
from benchmarks.networks import Measured, int8_bundle_of, random_bundle, runs_here
from benchmarks.records import preset_of
from benchmarks.yardsticks import Yardstick, best_yardstick, seconds_of
from ssa_fast import hardware
from ssa_fast.backends import Choice
from ssa_fast.export.parity import Proof, fitted, read_proofs
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.spec import PRESETS, gflop
from ssa_fast.volume.case import CaseFiles
from ssa_fast.volume.geometry import LabelArray

EDGE, SMALL_EDGE = 128, 32
LEAST_AGREEMENT = {"float32": 0.999, "bf16": 0.99, "float16": 0.99, "int8": 0.98}  # of trained weights, one patch

RUNS = [(network, *run) for network in PRESETS for run in runs_here()]


@pytest.fixture(scope="module")
def measured_network(
    asked_bundle: Path,
    int8_bundle: Path | None,
    case_files: CaseFiles,
    tiny_case: CaseFiles,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Callable[[str, str], Measured]:
    """By name and precision, each made when it is first asked for: random weights and int8 take their time."""
    folder = tmp_path_factory.mktemp("networks")

    @cache
    def random(name: str) -> Path:
        return random_bundle(name, tiny_case, folder / f"{name}.onnx")

    @cache
    def network(name: str, precision: str) -> Measured:
        def int8_of(bundle: Path, case: CaseFiles) -> Path | None:
            return int8_bundle_of(bundle, case, folder / f"{name}-int8.onnx") if precision == "int8" else None

        if name == "lite":
            lite = request.getfixturevalue("lite").path
            if request.config.getoption("benchmark_disable"):
                return Measured(bundle=lite, weights="random")
            return Measured(bundle=lite, weights="shipped", int8=int8_of(lite, case_files))
        if preset_of(read_bundle(asked_bundle).spec) == name:
            return Measured(bundle=asked_bundle, weights="asked", int8=int8_bundle or int8_of(asked_bundle, case_files))
        return Measured(bundle=random(name), weights="random", int8=int8_of(random(name), tiny_case))

    return network


@pytest.fixture(scope="module")
def patch(case_files: CaseFiles, request: pytest.FixtureRequest) -> Proof:
    """The middle of a brain."""
    edge = SMALL_EDGE if request.config.getoption("benchmark_disable") else EDGE
    [proof] = read_proofs([case_files], 16)
    return fitted(proof, [(edge, edge, edge)])


@pytest.fixture(scope="module")
def wanted(
    measured_network: Callable[[str, str], Measured], patch: Proof, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], LabelArray]:
    """What torch makes of the patch in float32, by network."""

    @lru_cache(maxsize=2)
    def labels(network: str) -> LabelArray:
        setup = Setup(bundle=str(measured_network(network, "float32").bundle), backend="torch")
        with EngineProcess(setup, patch.windows, tmp_path_factory.mktemp("wanted")) as process:
            process.run()
            return process.labels()

    return labels


@lru_cache(maxsize=4)
def _peak(precision: str, *, is_small: bool) -> Yardstick:
    return best_yardstick(precision, is_small=is_small)[0]


@pytest.mark.benchmark(group="patch latency")
@pytest.mark.parametrize(("network", "backend", "precision"), RUNS, ids=["-".join(run) for run in RUNS])
def bench_patch(
    benchmark: BenchmarkFixture,
    network: str,
    backend: str,
    precision: str,
    measured_network: Callable[[str, str], Measured],
    patch: Proof,
    wanted: Callable[[str], LabelArray],
    rounds: int,
    tmp_path: Path,
) -> None:
    if benchmark.disabled and network != "lite":
        pytest.skip("where nothing is measured, one network is enough")
    measured = measured_network(network, precision)
    bundle = measured.int8 if precision == "int8" else measured.bundle
    if bundle is None:
        pytest.skip(f"no int8 form of {network}: --int8-bundle, by ssa-fast export --precision int8")
    setup = Setup(bundle=str(bundle), backend=backend, precision=_choice(backend, precision))
    with EngineProcess(setup, patch.windows, tmp_path) as process:
        first = process.run()
        benchmark.pedantic(process.run, rounds=rounds, warmup_rounds=1)
        last = process.run()
        labels = process.labels()
        device, to_open = process.device, process.seconds_to_open
    agreement = float((labels == wanted(network))[patch.foreground].mean())
    operations = 1e9 * gflop(read_bundle(bundle).spec.network, patch.windows.shape[2:])
    seconds = last.seconds if benchmark.disabled else benchmark.stats.stats.median
    is_on_cpu = hardware.cpu().name in device
    benchmark.extra_info.update(
        device=device,
        weights=measured.weights,
        label_agreement=agreement,
        patches_a_second=1 / seconds,
        gflop_a_second=operations / seconds / 1e9,
        share_of_peak=_share(operations / seconds, precision, is_small=benchmark.disabled) if is_on_cpu else None,
        seconds_to_open=to_open,
        first_seconds=first.seconds,
        peak_bytes=last.peak_bytes,
        gpu_peak_bytes=last.gpu_peak_bytes,
    )
    print(f"{network} {precision}: {1e3 * seconds:.0f} ms, {agreement:.3%} of labels as torch float32, {device}")
    assert agreement >= LEAST_AGREEMENT[precision] or measured.weights == "random"


def _choice(backend: str, precision: str) -> Choice:
    """That the backend is asked for; of int8 the other layers'."""
    if precision != "int8":
        return precision  # type: ignore[return-value]
    return "bf16" if backend == "openvino" and hardware.cpu().gains_from_bf16 else "float32"


def _share(a_second: float, precision: str, *, is_small: bool) -> float:
    yardstick = _peak(precision, is_small=is_small)
    yardstick.work()
    best = statistics.median(seconds_of(yardstick.work) for _ in range(3))
    return float(np.round(a_second * best / yardstick.operations, 4))
