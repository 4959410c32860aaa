"""A whole command over a cohort beside the network alone, within little memory, and one cold call.

    pytest benchmarks/bench_cohort.py --benchmark-only -s --bundle BUNDLE --int8-bundle INT8 --engine ENGINE

Timed is `ssa-fast infer` as a user calls it: from the line that says that its network is open to its end (all cases),
and from its start to its end (one cold call: a new process; its files and the cases may be in the system's cache). The
network's own time is its second pass over each brain, in a process that does nothing else: the first compiles for the
brain's shape, which the command has to do as well, in its time.
"""

from __future__ import annotations

import math
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.command import Run, infer
from benchmarks.records import preset_of, processor, rounded
from ssa_fast import hardware
from ssa_fast.backends import Backend
from ssa_fast.infer.opening import open_network
from ssa_fast.measure import machine_line, ratio_of
from ssa_fast.model.bundle import read_bundle
from ssa_fast.volume.case import CaseFiles, read_case
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.preprocess import crop_to_brain, pad_brain

LITTLE_RAM = "1GB"
# network, form: what was promised
MOST_TIMES_NETWORK, MOST_PEAK_GB = {("reference", "bf16"): 1.15}, {("reference", "bf16"): 2.0}
MOST_TIGHT_GB = {("reference", "bf16"): 1.0}
MOST_SECONDS_A_CASE = {("lite", "int8"): 0.8, ("fast", "bf16"): 0.65, ("fast", "int8"): 0.65}
MOST_COLD_SECONDS = 2.0

Forms = dict[str, Path]  # word -> bundle or engine


@pytest.fixture
def forms(asked_bundle: Path, int8_bundle: Path | None, request: pytest.FixtureRequest) -> Forms:
    found = {"bf16" if hardware.cpu().has_bf16 else "float32": asked_bundle}
    if int8_bundle is not None:
        found["int8"] = int8_bundle
    if (engine := request.config.getoption("engine")) is not None:
        found["engine"] = engine
    return found


@pytest.mark.benchmark(group="a cohort, files to files")
def bench_a_cohort_beside_its_network(
    benchmark: BenchmarkFixture, forms: Forms, cohort: list[CaseFiles], rounds: int, tmp_path: Path, keep_record: Any
) -> None:
    folders = [files.folder for files in cohort]
    record = _about("a cohort by the command line, beside the network alone on the same brains", forms, benchmark)
    for word, bundle in forms.items():
        options = _options(word, bundle, benchmark)
        pairs, runs = [], []
        for place in range(rounds):
            runs.append(infer(folders, tmp_path / f"{word}-{place}", *options))
            pairs.append((runs[-1], _network_alone(word, bundle, cohort)))
        record["forms"][word] = _cohort_row(runs, pairs)
        tight = _within_little_ram(folders, tmp_path / f"{word}-tight", options)
        record["forms"][word][f"with_max_ram_{LITTLE_RAM}"] = tight
        print(word, record["forms"][word], flush=True)
    benchmark.pedantic(lambda: infer(folders[:1], tmp_path / "last", *options), rounds=1)
    record["claims"] = _claims(record)
    benchmark.extra_info.update(record)
    keep_record(f"cohort-{record['network']}", record)


@pytest.mark.benchmark(group="one cold call")
def bench_a_cold_call(
    benchmark: BenchmarkFixture, forms: Forms, cohort: list[CaseFiles], rounds: int, tmp_path: Path, keep_record: Any
) -> None:
    record = _about("one case by the command line, from the start of the process to its end", forms, benchmark)
    record["case"] = cohort[0].name
    seconds: dict[str, list[float]] = {word: [] for word in forms}
    for place in range(rounds + 1):
        for word, bundle in forms.items():
            run = infer([cohort[0].folder], tmp_path / f"{word}-{place}", *_options(word, bundle, benchmark))
            if place:  # the first reads the files that are not in the system's cache yet
                seconds[word].append(run.seconds)
    benchmark.pedantic(lambda: infer([cohort[0].folder], tmp_path / "last", *_options(word, bundle, benchmark)))
    for word, each in seconds.items():
        record["forms"][word] = {
            "median_seconds": round(statistics.median(each), 3),
            "min_seconds": round(min(each), 3),
            "max_seconds": round(max(each), 3),
            f"below_{MOST_COLD_SECONDS}_seconds": statistics.median(each) < MOST_COLD_SECONDS,
        }
    benchmark.extra_info.update(record)
    keep_record(f"cold-call-{record['network']}", record)


def _about(what: str, forms: Forms, benchmark: BenchmarkFixture) -> dict[str, Any]:
    bundles = {word: read_bundle(path) for word, path in forms.items() if path.suffix == ".onnx"}
    first = next(iter(bundles.values()))
    return {
        "what": what,
        "command": "pytest benchmarks/bench_cohort.py --benchmark-only -s --bundle BUNDLE --int8-bundle INT8",
        "network": preset_of(first.spec),
        "bundles_sha256": {word: bundle.sha256 for word, bundle in bundles.items()},
        "machine": machine_line(processor()),
        "forms": {},
    }


def _options(word: str, bundle: Path, benchmark: BenchmarkFixture) -> list[str]:
    options = ["--bundle", str(bundle)]
    if word != "engine":
        options += ["--backend", "openvino", "--precision", "bf16" if hardware.cpu().has_bf16 else "float32"]
    return options + (["--force"] if benchmark.disabled else [])  # tiny cases are noise, and suspected


def _network_alone(word: str, bundle: Path, cohort: list[CaseFiles]) -> float:
    """Seconds of the network over all brains, compiled."""
    if word == "engine":
        opened = open_network(bundle)
    else:
        opened = open_network(bundle, "openvino", "bf16" if hardware.cpu().has_bf16 else "float32")
    with closing(opened.backend) as backend:
        return sum(_second_pass(backend, files) for files in cohort)


def _second_pass(backend: Backend, files: CaseFiles) -> float:
    windows: FloatArray = pad_brain(crop_to_brain(read_case(files)), backend.spec.divisor)[0]
    backend.logits(windows)
    start = time.perf_counter()
    backend.logits(windows)
    return time.perf_counter() - start


def _cohort_row(runs: list[Run], pairs: list[tuple[Run, float]]) -> dict[str, Any]:
    cases = len(runs[0].network_seconds)
    a_case = [run.seconds_of_cases / cases for run in runs]
    return {
        "cases": cases,
        "seconds_a_case": round(statistics.median(a_case), 3),
        "cases_an_hour": round(3600 / statistics.median(a_case)),
        "seconds_a_case_range": [round(min(a_case), 3), round(max(a_case), 3)],
        "seconds_of_the_command": round(statistics.median(run.seconds for run in runs), 2),
        "network_seconds_a_case": round(statistics.median(own for _, own in pairs) / cases, 3),
        "network_seconds_a_case_in_the_command": round(
            statistics.median(sum(run.network_seconds.values()) for run in runs) / cases, 3
        ),
        "times_the_network": rounded(ratio_of([(run.seconds_of_cases, own) for run, own in pairs])),
        "times_the_network_with_start": rounded(ratio_of([(run.seconds, own) for run, own in pairs])),
        "peak_memory_gb": max(run.peak_gb for run in runs),
    }


def _within_little_ram(folders: list[Path], out: Path, options: list[str]) -> dict[str, Any]:
    try:
        run = infer(folders, out, *options, "--max-ram", LITTLE_RAM)
    except RuntimeError as error:
        return {"finishes": False, "said": str(error).strip().splitlines()[-1]}
    return {
        "finishes": len(run.network_seconds) == len(folders),
        "peak_memory_gb": run.peak_gb,
        "windows_a_case": sorted(run.passes.values()),
    }


def _claims(record: dict[str, Any]) -> list[dict[str, Any]]:
    claims = []
    for word, row in record["forms"].items():
        key, tight = (record["network"], word), row[f"with_max_ram_{LITTLE_RAM}"]
        for what, seen, most in (
            ("times the network's own time", row["times_the_network"]["median"], MOST_TIMES_NETWORK.get(key)),
            ("GB at most", row["peak_memory_gb"], MOST_PEAK_GB.get(key)),
            ("seconds a case", row["seconds_a_case"], MOST_SECONDS_A_CASE.get(key)),
            ("GB at most with --max-ram 1GB", tight.get("peak_memory_gb", math.inf), MOST_TIGHT_GB.get(key)),
        ):
            if most is not None:
                claims.append({"what": f"{what}, {word}", "seen": seen, "wanted_at_most": most, "holds": seen <= most})
    return claims
