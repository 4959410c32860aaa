"""A diagnosis as a person reads it, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ssa_fast.doctor.machine import read_machine
from ssa_fast.doctor.report import check_lines, diagnosis_lines, diagnosis_to_json, self_test_head
from ssa_fast.doctor.self_test import Check, SelfTest
from ssa_fast.doctor.traps import find_traps
from ssa_fast.model.roofline import Ceiling
from tests.doctor.records import NAMES, recorded

GOOD = Check(
    backend="ort",
    precision="float32",
    trial="brain 144x176x144",
    seconds=2.5,
    speed=1.25,
    gflop_per_second=66.4,
    share_of_peak=0.553,
    label_agreement=0.99991,
    largest_logit_error=0.007,
    needed=0.999,
)

CEILING = Ceiling(device="AMD EPYC", peaks={"float32": 120e9}, bandwidth=1e10, source="measured now")
TESTED = SelfTest(subject="bundle lite (float32)", reference="torch", ceiling=CEILING, checks=[GOOD])


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
    written = json.loads(json.dumps(diagnosis_to_json(recorded("t4"), "0.1.0", TESTED)))
    assert written["verdict"]["backend"] == "torch"
    assert {finding["trap"] for finding in written["findings"]} >= {"TensorRT 11 with ONNX Runtime"}
    assert written["self_test"]["subject"] == "bundle lite (float32)"
    assert written["self_test"]["peaks_per_second"] == {"float32": 120e9}
    assert written["self_test"]["checks"][0]["is_failed"] is False
    assert written["self_test"]["checks"][0]["share_of_peak"] == 0.553
    (tmp_path / "t4.json").write_text(json.dumps(written))
    assert read_machine(tmp_path / "t4.json") == recorded("t4")


def test_a_check_is_a_row_under_its_head() -> None:
    [row] = check_lines(GOOD)
    *_, head = self_test_head("bundle lite (float32)", "torch", CEILING)
    assert " ".join(row.split()) == "ort float32 brain 144x176x144 2.50 1.25x 66 55% 99.9910% 0.007 good"
    columns = {"seconds": "2.50", "speed": "1.25x", "GFLOP/s": "66", "of peak": "55%", "labels": "99.9910%"}
    for column, value in {**columns, "logits": "0.007"}.items():
        assert head.index(column) + len(column) == row.index(value) + len(value)


def test_the_head_says_what_is_held_against_what_and_the_measured_peak() -> None:
    text = " ".join(" ".join(self_test_head("engine x", "torch", CEILING)).split())
    assert "Self-test of engine x;" in text
    assert "against torch in float32" in text
    assert "120 GFLOP/s in float32 on AMD EPYC, measured now" in text


def test_a_row_ends_in_its_verdict_and_says_why_it_failed() -> None:
    row, why = check_lines(dataclasses.replace(GOOD, problem="equal labels on 90.0000%, wanted 99.90%"))
    assert row.endswith("  FAILED")
    assert why.strip() == "why equal labels on 90.0000%, wanted 99.90%"
    broken = dataclasses.replace(GOOD, seconds=None, label_agreement=None, problem="no memory was left")
    assert next(iter(check_lines(broken))).endswith("FAILED: no memory was left")
    [skipped] = check_lines(dataclasses.replace(broken, is_skipped=True, problem="has no bf16"))
    assert skipped.endswith("not run: has no bf16")


def test_what_infer_takes_has_a_star_and_a_peak_that_was_not_measured_a_dash() -> None:
    [row] = check_lines(dataclasses.replace(GOOD, is_default=True, share_of_peak=None, precision="int8/float32"))
    assert row.startswith("* ort")
    assert " - " in row


def test_no_row_is_wider_than_the_screen() -> None:
    wide = dataclasses.replace(
        GOOD,
        backend="openvino",
        precision="int8/float32",
        seconds=1234.56,
        gflop_per_second=123456.0,
        label_agreement=1.0,
        speed=100.0,
        largest_logit_error=1.2e-05,
        problem="wrong",
    )
    assert max(map(len, check_lines(wide))) <= 100
    assert max(map(len, self_test_head("bundle lite (float32)", "openvino", CEILING))) <= 100
