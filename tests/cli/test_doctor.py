"""`ssa-fast doctor`: text and JSON, another's machine, and the exit code of a failed self-test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ssa_fast.cli import doctor
from ssa_fast.doctor.self_test import Check
from ssa_fast.errors import ConfigError, ParityError
from tests.doctor.records import FOLDER

GOOD = Check(
    backend="ort",
    precision="float32",
    trial="x",
    seconds=1.0,
    label_agreement=1.0,
    largest_logit_error=0.0,
    needed=0.999,
)
BAD = Check(backend="torch", precision="bf16", trial="x", needed=0.995, problem="no memory was left")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(doctor.command, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """What the self-test will find."""
    checks: list[Check] = []

    def self_test(*_: object) -> Iterator[Check]:
        yield from checks

    monkeypatch.setattr(doctor, "self_test", self_test)
    monkeypatch.setattr(doctor, "brain_trial", lambda: None)
    return checks


def test_this_machine_is_diagnosed_and_its_json_gives_the_same_text(tmp_path: Path) -> None:
    text = run().stdout
    for words in ("What is here", "What ssa-fast will use", "What is wrong"):
        assert words in text
    (tmp_path / "me.json").write_text(run("--json").stdout)
    again = run("--machine", tmp_path / "me.json").stdout
    without_memory = [[line for line in said.splitlines() if "GB free" not in line] for said in (text, again)]
    assert without_memory[0] == without_memory[1]


def test_a_recorded_gtx_1650_is_told_its_traps_and_their_fixes() -> None:
    text = run("--machine", FOLDER / "gtx1650.json").stdout
    assert "ERROR    two ONNX Runtimes" in text
    assert "fix  pip uninstall -y onnxruntime onnxruntime-gpu" in text
    assert "WARNING  emulated tensor cores: NVIDIA GeForce GTX 1650" in text


def test_the_self_test_prints_its_rows_and_passes(tried: list[Check]) -> None:
    tried.append(GOOD)
    done = run("--self-test")
    assert done.exit_code == 0
    assert "'equal labels' are those of backend torch in float32" in done.stdout
    assert done.stdout.rstrip().endswith("good")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_failed_self_test_is_an_error_after_all_is_told(form: tuple[str, ...], tried: list[Check]) -> None:
    tried += [GOOD, BAD]
    with pytest.raises(ParityError, match=r"failed for torch in bf16 \(x\)"):
        run("--self-test", *form)


def test_the_self_test_stands_in_the_json(tried: list[Check]) -> None:
    tried.append(GOOD)
    assert [check["backend"] for check in json.loads(run("--self-test", "--json").stdout)["self_test"]] == ["ort"]


def test_a_self_test_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="runs on this machine"):
        run("--self-test", "--machine", FOLDER / "mac.json")
