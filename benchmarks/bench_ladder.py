"""The ladder: from eager torch in float32 with overlapping windows to the fastest, one technique a rung, on one brain.

    pytest benchmarks/bench_ladder.py --benchmark-only -s --records benchmarks/results/0.1.0 [--bundle BUNDLE]

Timed is the way from the normalized brain in memory to its labels: network, windows, blending, argmax. A rung and the
one that it stands on are two processes that run in turn, A B A B; times as fast as the first rung is the product along
the way. Beside it: peak memory of its process, equal labels, and the change of Dice from the first rung's.
`python -m benchmarks.ladder_figure RECORDS` draws the records.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import quiet
from benchmarks.engine_process import EngineProcess, Setup
from benchmarks.networks import int8_bundle_of
from benchmarks.peers.scores import changes
from benchmarks.records import NEWEST, commit, find, machine_facts, preset_of, read_record, rounded
from benchmarks.rungs import ELSEWHERE, LEAST_GAIN, Rung, rungs_here
from ssa_fast.backends import open_backend
from ssa_fast.export.convert import form_of, write_form
from ssa_fast.export.parity import LIMITS, Proof, answers_of, compare, open_reference, read_proofs
from ssa_fast.labels import REGIONS
from ssa_fast.measure import ratio_of
from ssa_fast.metrics.overlap import overlaps
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.case import CaseFiles
from ssa_fast.volume.geometry import LabelArray

MOST_WINDOWED_ROUNDS = 3  # of rungs that take ten times as long as the others
SMALL_WINDOW = (16, 16, 16)


class _Processes:
    """Two at most are open: a rung and what it stands on."""

    def __init__(self, opened: Callable[[Rung], EngineProcess]) -> None:
        self._opened = opened
        self._open: dict[str, EngineProcess] = {}

    def pair(self, rung: Rung, on: Rung | None) -> tuple[EngineProcess, EngineProcess | None]:
        wanted = {one.name: one for one in (on, rung) if one is not None}
        for name in [name for name in self._open if name not in wanted]:
            self._open.pop(name).__exit__(None, None, None)
        for name, one in wanted.items():
            if name not in self._open:
                self._open[name] = self._opened(one).__enter__()
                self._open[name].run()  # compiles for the shape
        return self._open[rung.name], None if on is None else self._open[on.name]

    def close(self) -> None:
        for process in self._open.values():
            process.__exit__(None, None, None)


@pytest.mark.benchmark(group="ladder")
def bench_ladder(
    benchmark: BenchmarkFixture,
    asked_bundle: Path,
    int8_bundle: Path | None,
    case_files: CaseFiles,
    tiny_case: CaseFiles,
    rounds: int,
    tmp_path: Path,
    keep_record: Any,
    request: pytest.FixtureRequest,
) -> None:
    bundle, case = read_bundle(asked_bundle), case_files
    if benchmark.disabled:
        bundle, case = read_bundle(request.getfixturevalue("tiny")), tiny_case
    [proof] = read_proofs([case], bundle.spec.divisor)
    rungs, meter = _rungs(is_small=benchmark.disabled), quiet.Meter()
    bundles = partial(_form_of, bundle, int8_bundle, case, tmp_path)
    processes = _Processes(partial(_process, proof, bundles, tmp_path))
    about = {
        "what": "from the normalized brain to its labels, one technique a rung, each against the one it stands on",
        "command": "pytest benchmarks/bench_ladder.py --benchmark-only -s --records FOLDER [--bundle BUNDLE]",
        "network": preset_of(bundle.spec),
        "bundle_sha256": bundle.sha256,
        "input": list(proof.windows.shape),
        "machine": machine_facts(),
        "commit": commit(),
        "elsewhere": _elsewhere(),
    }
    rows: dict[str, dict[str, Any]] = {}
    record: dict[str, Any] = {}
    with closing(processes):
        for rung in rungs:
            on = next((one for one in rungs if one.name == rung.on), None)
            rows[rung.name] = _row(rung, processes.pair(rung, on), rounds, proof, rows)
            told = {name: {key: row[key] for key in row if key != "labels"} for name, row in rows.items()}
            record = about | {"foreign_share": meter.foreign(), "rungs": told}
            keep_record(f"ladder-{about['network']}", record)  # at once: the whole takes minutes
        benchmark.pedantic(processes.pair(rungs[-1], None)[0].run, rounds=1)
    benchmark.extra_info.update(record)


def _rungs(*, is_small: bool) -> list[Rung]:
    """All; where nothing is measured those of one backend that starts fast, in which every kind of row is met."""
    found = rungs_here()
    if not is_small:
        return found
    some = [rung for rung in found if rung.how["backend"] != "torch" or not rung.on]
    return [rung for rung in some if rung.form in ("float32", "int8", "split-concat")]


def _process(proof: Proof, bundles: Callable[[str], Path], folder: Path, rung: Rung) -> EngineProcess:
    how = dict(rung.how)
    if "window" in how and min(proof.windows.shape[2:]) < min(how["window"]):
        how["window"] = SMALL_WINDOW
    setup = Setup(bundle=str(bundles(rung.form)), **how)
    return EngineProcess(setup, proof.windows, folder / rung.name.replace(" ", "-").replace("/", "-"))


def _form_of(bundle: Bundle, int8_bundle: Path | None, case: CaseFiles, folder: Path, form: str) -> Path:
    """The bundle's file in a form; made once."""
    path = folder / f"{form}.onnx"
    if form == "float32":
        return bundle.path
    if form == "int8":
        if int8_bundle is not None:
            return int8_bundle
        return path if path.is_file() else int8_bundle_of(bundle.path, case, path)
    if not path.is_file():
        changed = form_of(bundle, "float32", [form])
        name, reference = open_reference(bundle)
        with closing(reference), closing(open_backend("openvino", changed.bundle, "float32")) as candidate:
            answers = answers_of(reference, read_proofs([case], bundle.spec.divisor))
            write_form(changed, compare(name, answers, candidate, LIMITS["float32"]), path)
    return path


def _row(
    rung: Rung,
    pair: tuple[EngineProcess, EngineProcess | None],
    rounds: int,
    proof: Proof,
    rows: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    process, on = pair
    count = (
        min(rounds, MOST_WINDOWED_ROUNDS) if "window" in rung.how or "window" in (rows.get(rung.on) or {}) else rounds
    )
    seconds: list[float] = []
    pairs: list[tuple[float, float]] = []
    for _ in range(count):
        before = on.run().seconds if on is not None else math.nan
        answer = process.run()
        seconds.append(answer.seconds)
        pairs.append((before, answer.seconds))
    labels: LabelArray = process.labels() * proof.foreground
    first = next(iter(rows.values()), {"labels": labels, "times_as_fast_as_the_first": 1.0})
    gain = ratio_of(pairs) if on is not None else None
    below = rows.get(rung.on, first)["times_as_fast_as_the_first"]
    ours, theirs = _dice(proof, labels), _dice(proof, first["labels"])
    row = {
        "on": rung.on,
        "device": process.device,
        "seconds": round(statistics.median(seconds), 4),
        "seconds_range": [round(min(seconds), 4), round(max(seconds), 4)],
        "times_as_fast_as_below": None if gain is None else rounded(gain),
        "times_as_fast_as_the_first": round(below * (1.0 if gain is None else gain.median), 3),
        "seconds_to_open": round(process.seconds_to_open, 3),
        "peak_bytes": answer.peak_bytes,
        "label_agreement": float((labels == first["labels"])[proof.foreground].mean()),
        "dice_change": changes(ours, theirs) if ours else {},
        "is_kept": rung.is_kept,
        "pays": gain is None or gain.median >= LEAST_GAIN,
        "why": rung.why,
        "labels": labels,
    }
    if "window" in rung.how:
        row["window"] = True
    return row


def _dice(proof: Proof, labels: LabelArray) -> dict[str, float]:
    """Against the case's own segmentation, where it has one."""
    if proof.truth is None:
        return {}
    found = overlaps(proof.truth, labels)
    return {region: found[region].dice for region in REGIONS}


def _elsewhere() -> list[dict[str, Any]]:
    """What other records of this version have of rungs that are not climbed here."""
    rows = []
    for one in ELSEWHERE:
        path = NEWEST / f"{one.record}.json"
        if path.is_file():
            record = read_record(path)
            values = {what: find(record, way, path.name) for what, way in one.values.items()}
            rows.append(
                {"name": one.name, "record": path.name, "values": values, "is_kept": one.is_kept, "why": one.why}
            )
    return rows
