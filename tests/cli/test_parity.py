"""`ssa-fast parity`: a table, a verdict, a record."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ssa_fast.backends.manifest import read_manifest, write_manifest
from ssa_fast.cli.export import command as export
from ssa_fast.cli.parity import command as parity
from ssa_fast.errors import ConfigError, EngineError, ParityError
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.parity import Limits
from tests.cases import write_case


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    for seed, name in enumerate(("A-001", "B-001")):
        write_case(folder, name, seed=seed)
    return folder


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(parity, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def engine(cases: Path, tiny_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("engines")
    arguments = [tiny_bundle_path, "--backend", "openvino", "--precision", "float32", "--cases", cases, "--out", out]
    done = CliRunner().invoke(export, [str(argument) for argument in arguments], catch_exceptions=False)
    assert "kept: the fastest" in done.output
    [folder] = out.iterdir()
    return folder


def test_a_bundle_is_held_against_itself_in_torch_case_by_case(
    cases: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    record = tmp_path / "parity.json"
    done = _run(tiny_bundle_path, cases, "--backend", "ort", "--json", record)
    assert done.exception is None, done.exception
    assert "against tiny in torch float32" in done.output
    lines = [line.split()[0] for line in done.output.splitlines()]
    assert lines[1:] == ["A-001", "B-001", "all", "proven"]
    numbers = json.loads(record.read_text())
    assert [one["cases"] for one in numbers["cases"]] == [["A-001"], ["B-001"]]
    assert numbers["all"]["label_agreement"] > 0.999


def test_an_engine_gets_the_new_record(cases: Path, engine: Path, tiny_bundle_path: Path) -> None:
    manifest = read_manifest(engine)
    write_manifest(engine, dataclasses.replace(manifest, parity=None))
    done = _run(engine, cases, "--bundle", tiny_bundle_path)
    assert done.exception is None, done.exception
    written = read_manifest(engine).parity
    assert written is not None
    assert written.has_passed
    assert written.cases == ("A-001", "B-001")


def test_a_record_of_phantoms_does_not_replace_one_of_real_brains(
    cases: Path, engine: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    before = read_manifest(engine)
    phantom = write_case(tmp_path, "BraTS-SSA-90000-000")
    done = _run(engine, phantom, "--bundle", tiny_bundle_path)
    assert done.exception is None, done.exception
    assert f"the manifest of {engine} keeps its record, which is of real brains" in done.output
    assert read_manifest(engine) == before


def test_brains_beyond_an_engines_range_are_cut_and_named(cases: Path, engine: Path, tiny_bundle_path: Path) -> None:
    manifest = read_manifest(engine)
    write_manifest(engine, dataclasses.replace(manifest, shapes=((16, 16, 16), (16, 16, 64))))
    done = _run(engine, cases / "A-001", "--bundle", tiny_bundle_path)
    write_manifest(engine, manifest)
    assert done.exception is None, done.exception
    line = next(line for line in done.output.splitlines() if line.startswith("A-001: its box of "))
    assert re.fullmatch(r"A-001: its box of .* is cut or padded to 16 x 16 x \d+, which the engine takes", line)


def test_an_engine_that_fails_gets_that_record_and_an_error(cases: Path, engine: Path, tiny_bundle_path: Path) -> None:
    manifest = read_manifest(engine)
    assert manifest.parity is not None
    strict = dataclasses.replace(manifest.parity, limits=Limits(logit_error=0.0))
    write_manifest(engine, dataclasses.replace(manifest, parity=strict))
    done = _run(engine, cases, "--bundle", tiny_bundle_path)
    assert isinstance(done.exception, ParityError)
    assert "it is not to be trusted" in str(done.exception)
    failed = read_manifest(engine).parity
    assert failed is not None
    assert not failed.has_passed
    write_manifest(engine, manifest)


def test_an_engine_of_another_bundle_is_refused(cases: Path, engine: Path) -> None:
    done = _run(engine, cases, "--bundle", "lite")
    assert isinstance(done.exception, EngineError)
    assert "was built from a bundle" in str(done.exception)


def test_a_bundle_without_its_float32_parent_at_hand_says_so(
    cases: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.onnx"
    _export(tiny_bundle_path, "--precision", "float16", "--out", half)
    assert read_bundle(half).arithmetic == "float16"
    done = _run(half, cases)
    assert isinstance(done.exception, ConfigError)
    assert "no shipped bundle is its float32 parent" in str(done.exception)
    named = _run(half, cases, "--bundle", tiny_bundle_path, "--backend", "ort")
    assert "onnxruntime" in named.output
    stranger = _run(half, cases, "--bundle", "lite")
    assert isinstance(stranger.exception, ConfigError)
    assert "different checkpoints" in str(stranger.exception)


def _export(*arguments: object) -> None:
    done = CliRunner().invoke(export, [str(argument) for argument in arguments])
    assert done.exception is None, done.exception
