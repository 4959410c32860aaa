"""`ssa-fast doctor`: text and JSON, another's machine, and the exit code of a failed self-test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ssa_fast.backends import available_backends, choose_backend
from ssa_fast.backends.manifest import Manifest, write_manifest
from ssa_fast.cli import doctor
from ssa_fast.cli.export import command as export
from ssa_fast.doctor.self_test import Check, Run, small_trial
from ssa_fast.errors import ConfigError, ParityError
from ssa_fast.export.parity import Proof
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.model.roofline import Ceiling
from ssa_fast.pretrained import DEFAULT_BUNDLE, shipped_bundle
from tests.doctor.records import FOLDER

GOOD = Check(
    backend="ort",
    precision="float32",
    trial="x",
    seconds=1.0,
    speed=1.0,
    gflop_per_second=1.0,
    label_agreement=1.0,
    largest_logit_error=0.0,
    needed=0.999,
)
BAD = Check(backend="torch", precision="bf16", trial="x", needed=0.995, problem="no memory was left")
CEILING = Ceiling(device="AMD EPYC", peaks={"float32": 120e9}, bandwidth=1e10, source="measured now")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(doctor.command, list(map(str, arguments)), catch_exceptions=False)


@dataclass
class Tried:
    """What the self-test will find, and what it was asked for."""

    checks: list[Check] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    reference: Bundle | None = None
    shapes: list[tuple[int, ...]] = field(default_factory=list)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Tried:
    tried = Tried()

    def self_test(runs: list[Run], reference: Bundle, trials: list[Proof], _: Ceiling) -> Iterator[Check]:
        tried.runs, tried.reference = runs, reference
        tried.shapes = [trial.windows.shape[2:] for trial in trials]
        yield from tried.checks

    monkeypatch.setattr(doctor, "self_test", self_test)
    monkeypatch.setattr(doctor, "measured_ceiling", lambda: CEILING)
    monkeypatch.setattr(doctor, "brain_trial", lambda shape=(16, 16, 16): small_trial(4, shape))
    return tried


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


def test_the_self_test_prints_its_rows_and_passes(tried: Tried) -> None:
    tried.checks.append(GOOD)
    done = run("--self-test")
    assert done.exit_code == 0
    assert f"Self-test of bundle {DEFAULT_BUNDLE} (float32); " in done.stdout
    assert done.stdout.rstrip().endswith("good")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_failed_self_test_is_an_error_after_all_is_told(form: tuple[str, ...], tried: Tried) -> None:
    tried.checks += [GOOD, BAD]
    with pytest.raises(ParityError, match=r"failed for torch in bf16 \(x\)"):
        run("--self-test", *form)


def test_the_self_test_stands_in_the_json(tried: Tried) -> None:
    tried.checks.append(GOOD)
    assert [check["backend"] for check in json.loads(run("--self-test", "--json").stdout)["self_test"]["checks"]] == [
        "ort"
    ]


def test_a_self_test_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="runs on this machine"):
        run("--self-test", "--machine", FOLDER / "mac.json")


def test_without_a_bundle_every_backend_is_tested_on_what_infer_would_take(tried: Tried) -> None:
    run("--self-test")
    assert {one.backend for one in tried.runs} == set(available_backends())
    [chosen] = [one for one in tried.runs if one.is_default]
    assert chosen.backend == choose_backend()[0]
    assert tried.reference is not None
    assert tried.reference.path == shipped_bundle(DEFAULT_BUNDLE)


def test_a_bundle_of_another_form_is_held_to_the_float32_one_that_is_given(
    tried: Tried, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.onnx"
    arguments = [str(tiny_bundle_path), "--precision", "float16", "--out", str(half)]
    assert CliRunner().invoke(export, arguments).exception is None
    done = run("--self-test", "--bundle", half, "--reference", tiny_bundle_path)
    assert "Self-test of bundle half (float16);" in done.stdout
    assert tried.reference is not None
    assert tried.reference.path == tiny_bundle_path
    assert tried.runs
    with pytest.raises(ConfigError, match="no shipped bundle is its float32 parent"):
        run("--self-test", "--bundle", half)


def test_an_engine_is_tested_alone_on_shapes_that_it_takes(tried: Tried, tmp_path: Path) -> None:
    lite = read_bundle(shipped_bundle("lite"))
    manifest = Manifest(
        backend="trt",
        file="engine",
        engine_sha256="",
        bundle_sha256=lite.sha256,
        onnx_sha256="",
        spec=lite.spec,
        precision="float16",
        profile="gtx1650",
        needs={},
        shapes=((32, 32, 32), (48, 48, 48)),
        build_seconds=1.0,
        command="ssa-fast export",
    )
    write_manifest(tmp_path / "lite--gtx1650", manifest)
    done = run("--self-test", "--bundle", tmp_path / "lite--gtx1650")
    assert "Self-test of engine lite--gtx1650;" in done.stdout
    assert str(tmp_path) not in done.stdout
    assert [(one.backend, one.precision) for one in tried.runs] == [("trt", "float16")]
    assert tried.shapes == [(32, 32, 32), (48, 48, 48)]


@pytest.mark.parametrize("option", ["--bundle", "--reference"])
def test_what_is_tested_is_not_asked_without_a_test(option: str) -> None:
    with pytest.raises(ConfigError, match="give --self-test, too"):
        run(option, "lite")
