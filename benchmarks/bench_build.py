"""How long it takes to make a bundle, its int8 form and an engine, proofs included, and how large they are.

Once each: this is done once a network, or once a machine. All have random weights.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.high_water import HighWater
from benchmarks.networks import int8_bundle_of, random_bundle
from ssa_fast.backends import available_backends, open_backend
from ssa_fast.export.parity import LIMITS, answers_of, compare, open_reference, read_proofs
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.case import CaseFiles, find_cases


@pytest.mark.benchmark(group="export and engine build")
@pytest.mark.parametrize("preset", ["lite", "fast", "reference"])
def bench_export_bundle(benchmark: BenchmarkFixture, preset: str, tmp_path: Path) -> None:
    """From weights to the proven file, on a small case."""
    from tests.cases import write_case

    if benchmark.disabled and preset == "reference":
        pytest.skip("the same code as of lite, at ten times its price")
    # large: of weights that have learned nothing a voxel or two are ties, one in a few hundred would be too many
    [proof] = find_cases([write_case(tmp_path, "Proof-001", shape=(48, 56, 48), labels=False)])
    path = tmp_path / "bundle.onnx"
    with HighWater() as water:
        benchmark.pedantic(random_bundle, (preset, proof, path), rounds=1)
    benchmark.extra_info.update(bytes=path.stat().st_size, added_bytes=water.added_bytes)


@pytest.mark.benchmark(group="export and engine build")
def bench_export_int8(
    benchmark: BenchmarkFixture, lite: Bundle, case_files: CaseFiles, tiny_case: CaseFiles, tmp_path: Path
) -> None:
    """Calibrated and proven on one case."""
    case, path = tiny_case if benchmark.disabled else case_files, tmp_path / "int8.onnx"
    with HighWater() as water:
        benchmark.pedantic(int8_bundle_of, (lite.path, case, path), rounds=1)
    parity = read_bundle(path).parity
    assert parity is not None
    benchmark.extra_info.update(
        bytes=path.stat().st_size, label_agreement=parity.label_agreement, added_bytes=water.added_bytes
    )


@pytest.mark.benchmark(group="export and engine build")
def bench_build_engine(
    benchmark: BenchmarkFixture, lite: Bundle, case_files: CaseFiles, tiny_case: CaseFiles, tmp_path: Path
) -> None:
    """OpenVINO's compiled graph of the labels, to the disk; proven on one case, outside the timed region."""
    if "openvino" not in available_backends():
        pytest.skip("backend 'openvino': its library is not installed")
    from ssa_fast.backends.openvino import exported

    path = tmp_path / "engine"

    def build() -> None:
        with closing(open_backend("openvino", lite)) as backend:
            path.write_bytes(exported(backend, "labels"))  # type: ignore[arg-type]

    with HighWater() as water:
        benchmark.pedantic(build, rounds=1 if benchmark.disabled else 5, warmup_rounds=1)
    name, reference = open_reference(lite)
    with closing(reference), closing(open_backend("openvino", lite)) as backend:
        proofs = read_proofs([tiny_case if benchmark.disabled else case_files], lite.spec.divisor)
        parity = compare(name, answers_of(reference, proofs), backend, LIMITS["bf16"])
    benchmark.extra_info.update(
        bytes=path.stat().st_size, label_agreement=parity.label_agreement, added_bytes=water.added_bytes
    )
