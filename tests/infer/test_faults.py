"""Planted faults: nothing lost, nothing wrong on disk, one clear line, the right exit code.

| where | faults | what is to happen |
|---|---|---|
| in one case of three | `faults.IN_ONE_CASE`: 16 | its line; the others done; exit code 2 |
| before the first case | no case, two of one name, bundle, backend, output: 7 | one line; nothing written; 2 |
| in every case | memory | a line each; nothing written; 2 |
| while results are written | disk full, file too large, results a folder | the file named; no half file; 2 |
| reading, network, writing | SIGINT, SIGTERM | whole files alone; 130, 143; `--resume` ends it |
| before `--resume` | `faults.BEFORE_RESUMING`: 9; results cut off, other bundle | done again, the same bytes |
| `test_stops.py` | SIGKILL, SIGINT, SIGTERM, output closed, two at once | whole files; `--resume` ends it |

More: `tests/volume/test_nifti.py` and `test_bad_input.py` (files), `tests/infer/test_cohort.py` (an engine that fails,
memory that runs out), `tests/volume/test_sanity.py` (swaps, skulls, shifts), `tests/prepare/` and `tests/train/`.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ssa_fast.infer.cohort as cohort_module
import ssa_fast.infer.segmenter as segmenter_module
from ssa_fast.cli import main, pace
from ssa_fast.files import sha256
from ssa_fast.pretrained import shipped_bundle
from tests.cases import write_case
from tests.infer.faults import BEFORE_RESUMING, IN_ONE_CASE, three_cases

pytest.importorskip("onnxruntime")


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    lines: list[str]  # of standard error


class Cohort:
    """Three tiny cases, and `ssa-fast infer` on them, in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch
        self.cases, self.out = three_cases(folder), folder / "out"

    def infer(self, *options: str | Path, cases: Path | None = None) -> Done:
        arguments = ["infer", cases or self.cases, "--backend", "ort", "--out", self.out, *options]
        self._monkeypatch.setattr(sys, "argv", ["ssa-fast", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.err
        return Done(left.value.code, printed.out, printed.err.splitlines())

    def written(self) -> dict[str, bytes]:
        """Every file of the output but the records and results, which hold seconds."""
        return {path.name: path.read_bytes() for path in sorted(self.out.glob("*.nii.gz"))}

    def check(self, *names: str) -> None:
        """That the output holds whole results of these cases, and nothing else."""
        wanted = {f"{name}{end}" for name in names for end in (".nii.gz", ".json")} | {"results.jsonl"}
        assert {path.name for path in self.out.iterdir()} == wanted
        for name in names:
            assert json.loads((self.out / f"{name}.json").read_text())["case"] == name
        assert self.infer("--resume", "--plan-only").code in (0, 2)  # and can be read


@pytest.fixture
def cohort(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cohort]:
    monkeypatch.setattr(pace, "cache_folder", lambda: tmp_path / "cache")
    before = signal.getsignal(signal.SIGTERM)
    yield Cohort(tmp_path, capsys, monkeypatch)
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("fault", IN_ONE_CASE)
def test_a_fault_in_one_case_costs_that_case(fault: str, cohort: Cohort) -> None:
    plant, words = IN_ONE_CASE[fault]
    plant(cohort.folder)
    done = cohort.infer()
    assert done.code == 2
    line, last = done.lines
    assert line.startswith("[2/3] Case-1: ")
    assert words in line
    assert last == "error: 1 of 3 cases failed: Case-1 (each has its line above)"
    cohort.check("Case-0", "Case-2")


def _no_case(cohort: Cohort) -> list[str | Path]:
    shutil.rmtree(cohort.cases)
    cohort.cases.mkdir()
    return []


def _two_of_one_name(cohort: Cohort) -> list[str | Path]:
    write_case(cohort.cases / "again", "Case-1", labels=False)
    return []


def _cut_bundle(cohort: Cohort) -> list[str | Path]:
    path = cohort.folder / "cut.onnx"
    path.write_bytes(shipped_bundle("lite").read_bytes()[:-1000])
    return ["--bundle", path]


def _no_bundle(cohort: Cohort) -> list[str | Path]:
    return ["--bundle", cohort.folder / "none.onnx"]


def _a_file_for_output(cohort: Cohort) -> list[str | Path]:
    cohort.out.write_text("a file")
    return []


def _no_output(cohort: Cohort) -> list[str | Path]:
    return ["--out", "/proc/ssa-fast"]  # where nobody may make a folder, not even root


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (_no_case, "no case found"),
        (_two_of_one_name, "two cases are called Case-1"),
        (lambda _: ["--backend", "tensorflow"], "Invalid value for '--backend'"),
        (_cut_bundle, "cut.onnx"),
        (_no_bundle, "none.onnx"),
        (_a_file_for_output, "out"),
        (lambda _: ["--window", "10", "16", "16"], "takes multiples of 16"),
        pytest.param(
            _no_output, "/proc/ssa-fast", marks=pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
        ),
    ],
)
def test_a_fault_before_the_first_case_is_one_line_and_nothing_is_written(
    plant: object, words: str, cohort: Cohort
) -> None:
    done = cohort.infer(*plant(cohort))  # type: ignore[operator]
    assert done.code == 2
    assert words in done.lines[-1]
    assert done.lines[-1].startswith("error: ")
    assert not list(cohort.folder.glob("out/*.nii.gz"))


def test_memory_that_no_case_can_be_done_with_is_said_for_each(cohort: Cohort) -> None:
    done = cohort.infer("--max-ram", "1MB")
    assert done.code == 2
    assert len(done.lines) == 4
    assert all("1 MB are granted" in line for line in done.lines[:3])
    assert not list(cohort.out.iterdir())


def test_a_full_disk_ends_the_run_and_leaves_no_half_file(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = Cohort.infer(cohort)
    assert undisturbed.code == 0
    whole = cohort.written()
    shutil.rmtree(cohort.out)
    plain, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:  # the second label map; before it came the first, and its record
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    done = cohort.infer()
    assert (done.code, done.lines) == (2, [f"error: {cohort.out / 'Case-1.nii.gz'}: No space left on device"])
    cohort.check("Case-0")
    monkeypatch.setattr(os, "fsync", plain)
    assert cohort.infer("--resume").code == 0
    assert cohort.written() == whole


@pytest.mark.parametrize(
    ("limit", "end", "words"),
    [(100, "Case-0.nii.gz", "File too large"), (1000, "results.jsonl", "No space left on device")],
)
def test_a_file_that_may_not_grow_ends_the_run_too(limit: int, end: str, words: str, cohort: Cohort) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # bytes: a label map has 300, a line of results 1600
    try:
        done = cohort.infer()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (done.code, done.lines) == (2, [f"error: {cohort.out / end}: {words}"])
    assert not list(cohort.out.glob("*.json"))
    assert not list(cohort.out.glob(".*"))
    assert cohort.infer("--resume").code == 0
    cohort.check("Case-0", "Case-1", "Case-2")


def _while_reading(monkeypatch: pytest.MonkeyPatch, send: Callable[[], None]) -> None:
    monkeypatch.setattr(cohort_module, "read_case", _second(cohort_module.read_case, send))


def _before_the_network(monkeypatch: pytest.MonkeyPatch, send: Callable[[], None]) -> None:
    monkeypatch.setattr(segmenter_module, "pad_to", _second(segmenter_module.pad_to, send))


def _while_writing(monkeypatch: pytest.MonkeyPatch, send: Callable[[], None]) -> None:
    monkeypatch.setattr(os, "fsync", _second(os.fsync, send))


def _second(plain: Callable[..., Any], send: Callable[[], None]) -> Callable[..., Any]:
    """The function, whose second call sends first."""
    calls = itertools.count()

    def called(*given: Any, **more: Any) -> Any:
        if next(calls) == 1:
            send()
        return plain(*given, **more)

    return called


@pytest.mark.parametrize("moment", [_while_reading, _before_the_network, _while_writing])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_any_stage_leaves_whole_files_alone(
    number: signal.Signals,
    code: int,
    moment: Callable[[pytest.MonkeyPatch, Callable[[], None]], None],
    cohort: Cohort,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        moment(patched, lambda: os.kill(os.getpid(), number))
        assert cohort.infer().code == code
    threads = {thread.name.partition("_")[0] for thread in threading.enumerate()}
    assert not threads & {"read", "write"}  # nobody writes on
    assert not list(cohort.out.glob(".*"))
    for path in cohort.out.glob("*.json"):
        vouched = json.loads(path.read_text())["output_sha256"]
        assert vouched == sha256(path.with_suffix(".nii.gz").read_bytes())
    assert cohort.infer("--resume").code == 0
    cohort.check("Case-0", "Case-1", "Case-2")


def test_results_that_cannot_be_written_end_the_run_and_the_case_is_not_done(cohort: Cohort) -> None:
    (cohort.out / "results.jsonl").mkdir(parents=True)
    done = cohort.infer()
    assert (done.code, done.lines) == (2, [f"error: {cohort.out / 'results.jsonl'}: Is a directory"])
    assert not list(cohort.out.glob("*.json"))


@pytest.mark.parametrize("fault", BEFORE_RESUMING)
def test_what_was_spoiled_is_done_again_and_the_rest_is_kept(fault: str, cohort: Cohort) -> None:
    assert cohort.infer().code == 0
    before = cohort.written()
    BEFORE_RESUMING[fault](cohort.folder)
    for partial in cohort.out.glob(".*.partial"):
        os.utime(partial, (0, 0))
    done = cohort.infer("--resume")
    assert (done.code, done.lines) == (0, [])
    assert re.findall(r"\] (Case-\d): there already", done.out) == ["Case-0", "Case-2"]
    if fault != "input changed":
        assert cohort.written() == before
    cohort.check("Case-0", "Case-1", "Case-2")


def test_half_a_line_of_results_spoils_no_other(cohort: Cohort) -> None:
    assert cohort.infer().code == 0
    results = cohort.out / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-100])
    (cohort.out / "Case-0.json").unlink()
    assert cohort.infer("--resume").code == 0
    lines = results.read_text().splitlines()
    assert len(lines) == 4
    assert [json.loads(line)["case"] for line in (*lines[:2], lines[3])] == ["Case-0", "Case-1", "Case-0"]


def test_another_bundle_does_all_again(cohort: Cohort, tiny_bundle_path: Path) -> None:
    assert cohort.infer("--bundle", tiny_bundle_path).code == 0
    done = cohort.infer("--resume")
    assert done.code == 0
    assert "there already" not in done.out


def test_a_young_partial_may_be_anothers_and_is_left_alone(cohort: Cohort) -> None:
    cohort.out.mkdir()
    young = cohort.out / ".Case-1.nii.gz.1234.partial"
    young.write_bytes(b"half")
    assert cohort.infer().code == 0
    assert young.exists()


def test_what_shares_did_is_kept_by_a_run_of_all_and_the_other_way_round(cohort: Cohort) -> None:
    assert cohort.infer("--shard", "1/2").code == 0
    done = cohort.infer("--resume")
    assert re.findall(r"\] (Case-\d): there already", done.out) == ["Case-0", "Case-2"]
    assert re.findall(r"\] (Case-\d): there already", cohort.infer("--resume", "--shard", "2/2").out) == ["Case-1"]
    files = {path.name: path.read_text().splitlines() for path in cohort.out.glob("*.jsonl")}
    done_by = {name: [json.loads(line)["case"] for line in lines] for name, lines in files.items()}
    assert done_by == {"results-1-of-2.jsonl": ["Case-0", "Case-2"], "results.jsonl": ["Case-1"]}
