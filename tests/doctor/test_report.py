"""A diagnosis as a person reads it, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ssa_fast.doctor.machine import read_machine
from ssa_fast.doctor.report import check_lines, diagnosis_lines, diagnosis_to_json, self_test_head
from ssa_fast.doctor.self_test import Check
from ssa_fast.doctor.traps import find_traps
from tests.doctor.records import NAMES, recorded

GOOD = Check(
    backend="ort",
    precision="float32",
    trial="brain 144 x 176 x 144",
    seconds=2.5,
    label_agreement=0.99991,
    largest_logit_error=0.007,
    needed=0.999,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_diagnosis_is_short_narrow_and_names_every_fix(name: str) -> None:
    lines = list(diagnosis_lines(recorded(name)))
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    for finding in find_traps(recorded(name)):
        assert finding.trap in text
        assert finding.fix in text


def test_a_gtx_1650_reads_what_it_is_and_what_will_be_used() -> None:
    text = "\n".join(diagnosis_lines(recorded("gtx1650")))
    assert "4 physical cores, 8 logical for this program: 8 threads used" in text
    assert "has AVX2; has no AVX-512, VNNI (fast 8-bit), bf16 (fast 16-bit)" in text
    assert "NVIDIA GeForce GTX 1650, 4.3 GB (4.1 free), compute capability 7.5, no tensor cores" in text
    assert "550.54.14, good for CUDA up to 12.4" in text
    assert "2.9.0+cu126 (built for CUDA 12.6, cuDNN 9.10.2), computes on NVIDIA GeForce GTX 1650" in text
    assert "computing in float32 on NVIDIA GeForce GTX 1650: bf16 would be emulated by it" in text
    assert "(2 errors, 2 warnings, 2 notes)" in text


def test_what_a_system_does_not_tell_is_said() -> None:
    machine = recorded("mac")
    untold = dataclasses.replace(machine, cpu=dataclasses.replace(machine.cpu, cores=None), memory_bytes=None)
    text = "\n".join(diagnosis_lines(untold))
    assert "8 logical cores (physical ones are not told): 8 threads used" in text
    assert "instructions: not told by this system" in text
    assert "memory       not told" in text


def test_a_machine_in_no_trap_is_told_so() -> None:
    assert list(diagnosis_lines(recorded("a100")))[-1] == "What is wrong: nothing. None of 16 known traps applies."


def test_json_holds_machine_verdict_findings_and_checks_and_is_read_back(tmp_path: Path) -> None:
    written = json.loads(json.dumps(diagnosis_to_json(recorded("t4"), "0.1.0", [GOOD])))
    assert written["verdict"]["backend"] == "torch"
    assert {finding["trap"] for finding in written["findings"]} >= {"TensorRT 11 with ONNX Runtime"}
    assert written["self_test"][0]["is_failed"] is False
    (tmp_path / "t4.json").write_text(json.dumps(written))
    assert read_machine(tmp_path / "t4.json") == recorded("t4")


def test_a_check_is_a_row_under_its_head() -> None:
    [row] = check_lines(GOOD)
    head = self_test_head("torch")[1]
    assert " ".join(row.split()) == "ort float32 brain 144 x 176 x 144 2.50 99.9910% 99.9% 0.007 good"
    for column, value in (("seconds", "2.50"), ("equal labels", "99.9910%"), ("wanted", "99.9%")):
        assert head.index(column) + len(column) == row.index(value) + len(value)
    [failed] = check_lines(dataclasses.replace(GOOD, label_agreement=0.9))
    assert failed.endswith("FAILED")
    broken = dataclasses.replace(GOOD, seconds=None, label_agreement=None, problem="no memory was left")
    assert next(iter(check_lines(broken))).endswith("FAILED: no memory was left")
    [skipped] = check_lines(dataclasses.replace(broken, is_skipped=True, problem="has no bf16"))
    assert skipped.endswith("not run: has no bf16")
