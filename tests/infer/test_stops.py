"""Runs that are stopped: at any moment what is on the disk is whole, and `--resume` gives what one run would have.

Processes of their own, for signals and a closed pipe are a process's. See `test_faults.py` for all faults in a table.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ssa_fast.files import sha256
from tests.cases import write_case

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

CASES = 6
_PATIENCE_S = 120  # for a machine that is busy; idle, all here end within a second or two

# The command line, killed in the middle of its n-th write of a whole file.
_KILLED = """
import os, signal, sys

plain, writes = os.fsync, [int(sys.argv.pop(1))]

def fsync(descriptor):
    writes[0] -= 1
    if writes[0] == 0:
        os.ftruncate(descriptor, 100)
        os.kill(os.getpid(), signal.SIGKILL)
    plain(descriptor)

os.fsync = fsync
from ssa_fast.cli import main
main()
"""

# Thirty cases of five shapes, one after the other: resident bytes and CPU seconds after each, as JSON.
_SOAK = """
import json, sys, time
from pathlib import Path
from ssa_fast.infer.cohort import CohortRun, segment_cohort
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.opening import open_segmenter
from ssa_fast.measure import resident_bytes
from ssa_fast.volume.case import find_cases

seen = []
with open_segmenter(backend=sys.argv[3], intake=Intake()) as segmenter:
    run = CohortRun(out=Path(sys.argv[2]), facts={})
    for outcome in segment_cohort(segmenter, find_cases([Path(sys.argv[1])]), run):
        assert outcome.error is None, outcome.error
        seen.append((resident_bytes(), time.process_time()))
print(json.dumps(seen))
"""


def _start(cases: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    given = ["infer", str(cases), "--backend", "ort", "--out", str(out), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "ssa_fast", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(out.parent / "cache")},
    )


def _end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit code, and what it printed."""
    try:
        printed, said = process.communicate(timeout=_PATIENCE_S)
    finally:
        process.kill()
    assert "Traceback" not in said, said
    return process.returncode, printed, said


def _wait_for(process: subprocess.Popen[str], lines: int) -> None:
    """Until so many cases are done."""
    assert process.stdout is not None
    seen = 0
    while seen < lines:
        line = process.stdout.readline()
        assert line, process.communicate()
        seen += line.startswith("[")


def _labels(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.nii.gz"))}


def _check_whole(out: Path, undisturbed: dict[str, bytes]) -> None:
    """Whatever is there is what the undisturbed run made, and each record vouches for its label map."""
    for name, content in _labels(out).items():
        assert content == undisturbed[name], name
    for path in out.glob("*.json"):
        record = json.loads(path.read_text())
        assert record["output_sha256"] == sha256((out / f"{record['case']}.nii.gz").read_bytes())
    for line in (out / "results.jsonl").read_text().splitlines() if (out / "results.jsonl").exists() else []:
        assert json.loads(line)["case"].startswith("Case-")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stops") / "cases"
    for number in range(CASES):
        write_case(folder, f"Case-{number}", seed=number, labels=False)
    return folder


@pytest.fixture(scope="module")
def undisturbed(cases: Path) -> dict[str, bytes]:
    """File -> content of a whole run."""
    code, _, said = _end(_start(cases, cases.parent / "whole"))
    assert (code, said) == (0, "")
    labels = _labels(cases.parent / "whole")
    assert len(labels) == CASES
    return labels


def test_killed_at_random_moments_and_resumed_it_gives_what_one_run_gives(
    cases: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    rng = random.Random(0)
    for lines in (0, 1, 2):
        process = _start(cases, tmp_path / "out", "--resume")
        if lines:
            _wait_for(process, lines)
        try:
            process.wait(rng.uniform(0, 0.05 if lines else 1))  # a moment later, whatever it is doing
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        _check_whole(tmp_path / "out", undisturbed)
    code, printed, said = _end(_start(cases, tmp_path / "out", "--resume"))
    assert (code, said) == (0, "")
    assert "there already" in printed
    _check_whole(tmp_path / "out", undisturbed)
    assert _labels(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("write", [1, 2, 3])
def test_killed_in_the_middle_of_a_write_and_resumed_it_gives_what_one_run_gives(
    write: int, cases: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    given = ["infer", str(cases), "--backend", "ort", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", _KILLED, str(write), *given]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "out").glob(".Case-*.partial"))) == 1  # that is what was being written
    assert len([*(tmp_path / "out").glob("*.nii.gz"), *(tmp_path / "out").glob("*.json")]) == write - 1
    _check_whole(tmp_path / "out", undisturbed)
    assert _end(_start(cases, tmp_path / "out", "--resume"))[0] == 0
    _check_whole(tmp_path / "out", undisturbed)
    assert _labels(tmp_path / "out") == undisturbed


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_run_with_whole_files_and_one_word(
    number: signal.Signals, code: int, word: str, cases: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    process = _start(cases, tmp_path / "out")
    _wait_for(process, 1)
    process.send_signal(number)
    left, _, said = _end(process)
    assert (left, said.strip()) == (code, word)
    _check_whole(tmp_path / "out", undisturbed)
    assert not list((tmp_path / "out").glob(".*"))
    assert _end(_start(cases, tmp_path / "out", "--resume"))[0] == 0
    assert _labels(tmp_path / "out") == undisturbed


def test_a_reader_that_goes_ends_the_run_quietly(cases: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    process = _start(cases, tmp_path / "out")  # | head -1
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(_PATIENCE_S) == 1
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    _check_whole(tmp_path / "out", undisturbed)
    assert not list((tmp_path / "out").glob(".*"))


def test_two_runs_into_one_folder_at_once_do_no_harm(
    cases: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    for code, _, said in [_end(process) for process in [_start(cases, tmp_path / "out") for _ in range(2)]]:
        assert (code, said) == (0, "")
    _check_whole(tmp_path / "out", undisturbed)
    assert _labels(tmp_path / "out") == undisturbed
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 2 * CASES
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_thirty_cases_take_no_more_memory_or_time_than_ten(backend: str, tmp_path: Path) -> None:
    pytest.importorskip({"ort": "onnxruntime"}.get(backend, backend))
    shapes = [(24, 20, 18), (40, 36, 30), (30, 50, 20), (52, 40, 44), (36, 24, 60)]
    for number in range(30):
        write_case(tmp_path / "cases", f"Case-{number:02}", seed=number, labels=False, shape=shapes[number % 5])
    given = [sys.executable, "-c", _SOAK, str(tmp_path / "cases"), str(tmp_path / "out"), backend]
    printed = subprocess.run(given, check=True, capture_output=True, text=True, timeout=600).stdout
    held, ended = zip(*json.loads(printed), strict=True)
    assert max(held[20:]) < max(held[:10]) + 10_000_000  # bytes: half a megabyte a case would be 10 by the last twenty
    assert ended[29] - ended[19] < 1.5 * (ended[19] - ended[9])  # of the processor
