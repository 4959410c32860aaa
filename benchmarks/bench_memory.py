"""What a plan says of memory, held against what the process took: over a cohort, and within what was granted.

Each run is `ssa-fast infer` in a process of its own; its peak is the kernel's high-water mark of resident memory. The
figure is the largest plan over the peak: below 0.95 a plan promises too much, above 1.2 it scares users away. Seconds
are not judged. With `--benchmark-disable` two cases do, and no limit holds, for fewer cases meet less often.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.bench_infer import RUNS
from benchmarks.networks import int8_bundle_of
from ssa_fast.backends import available_backends
from ssa_fast.infer.record import RESULTS
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.case import CaseFiles

LEAST, MOST = 0.95, 1.2  # of planned over measured
LARGEST_PEAK = 2_000_000_000  # bytes, of a cohort

FORMS: list[tuple[str, str]] = [*RUNS]
if "openvino" in available_backends():
    FORMS.append(("openvino", "int8"))  # of `--int8-bundle`
GRANTED_BYTES = {"1GB": 1_000_000_000, "750MB": 750_000_000}
GRANTED = [(name, form, "750MB") for name, form in FORMS]
GRANTED += [(name, form, "1GB") for name, form in FORMS if form == "float32" and name != "ort"]  # others want less

# The command, and the peak to the byte: it rounds what it says of it.
_COMMAND = """
import atexit, runpy
from ssa_fast.measure import peak_memory_bytes

atexit.register(lambda: print(peak_memory_bytes()))
runpy.run_module("ssa_fast", run_name="__main__")
"""

every_form = pytest.mark.parametrize(("name", "form"), FORMS, ids=["-".join(form) for form in FORMS])


@pytest.fixture(scope="module")
def bundles(
    request: pytest.FixtureRequest,
    lite: Bundle,
    int8_bundle: Path | None,
    tiny_case: CaseFiles,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """By form. That of int8 is asked for, as it is long in the making; where nothing is measured a tiny one is made."""
    if request.config.getoption("benchmark_disable"):
        int8_bundle = int8_bundle_of(lite.path, tiny_case, tmp_path_factory.mktemp("int8") / "int8.onnx")
    found = {"float32": lite.path, "bf16": lite.path}
    return found if int8_bundle is None else found | {"int8": int8_bundle}


def _options(name: str, form: str, bundles: dict[str, Path]) -> tuple[str, ...]:
    if form not in bundles:
        pytest.skip(f"no {form} form: --int8-bundle, by ssa-fast export --precision int8")
    precision = () if form == "int8" else ("--precision", form)
    return ("--backend", name, "--bundle", str(bundles[form]), *precision)


def _infer(cases: list[CaseFiles], out: Path, *options: str) -> tuple[int, int]:
    """Bytes of the largest plan, and the peak of the process."""
    given = ["infer", *(str(files.folder) for files in cases), "--out", str(out), *options]
    done = subprocess.run([sys.executable, "-c", _COMMAND, *given], capture_output=True, text=True, check=True)
    peak = int(done.stdout.splitlines()[-1])
    lines = (out / RESULTS).read_text().splitlines()
    assert len(lines) == len(cases)
    return max(json.loads(line)["plan"]["peak_bytes"] for line in lines), peak


@every_form
@pytest.mark.parametrize("count", [1, 15])
def bench_a_plan_tells_what_the_process_will_take(
    benchmark: BenchmarkFixture,
    name: str,
    form: str,
    count: int,
    cohort: list[CaseFiles],
    bundles: dict[str, Path],
    tmp_path: Path,
) -> None:
    cases = cohort[: 2 if benchmark.disabled else count]
    options = _options(name, form, bundles)
    planned, peak = benchmark.pedantic(lambda: _infer(cases, tmp_path, *options), rounds=1)
    benchmark.extra_info.update(backend=name, form=form, cases=len(cases), planned_bytes=planned, peak_bytes=peak)
    print(f"{name} {form}, {len(cases)} cases: {planned / 1e9:.2f} GB planned, {peak / 1e9:.2f} GB taken")
    assert peak < LARGEST_PEAK
    assert benchmark.disabled or LEAST <= planned / peak <= MOST


@pytest.mark.parametrize(("name", "form", "granted"), GRANTED, ids=["-".join(one) for one in GRANTED])
def bench_what_is_granted_is_not_exceeded(
    benchmark: BenchmarkFixture,
    name: str,
    form: str,
    granted: str,
    cohort: list[CaseFiles],
    bundles: dict[str, Path],
    tmp_path: Path,
) -> None:
    cases = cohort[:2] if benchmark.disabled else cohort
    options = (*_options(name, form, bundles), "--max-ram", granted)
    planned, peak = benchmark.pedantic(lambda: _infer(cases, tmp_path, *options), rounds=1)
    benchmark.extra_info.update(
        backend=name, form=form, cases=len(cases), granted=granted, planned_bytes=planned, peak_bytes=peak
    )
    print(f"{name} {form}, {granted}: {planned / 1e9:.2f} GB planned, {peak / 1e9:.2f} GB taken")
    assert peak <= GRANTED_BYTES[granted]
