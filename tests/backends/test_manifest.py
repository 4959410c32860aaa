"""What an engine says of itself, and when it is refused for it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ssa_fast.backends import open_engine
from ssa_fast.backends.manifest import (
    MANIFEST,
    Candidate,
    Manifest,
    engine_bytes,
    engine_name,
    is_engine,
    read_manifest,
    write_manifest,
)
from ssa_fast.errors import ConfigError, EngineError
from ssa_fast.files import sha256
from ssa_fast.model.parity import Limits, Parity
from ssa_fast.model.spec import ModelSpec
from tests.networks import tiny_config

PARITY = Parity(
    reference="the bundle by onnxruntime",
    candidate="TensorRT",
    cases=("A", "B"),
    label_agreement=0.9995,
    mean_logit_error=0.001,
    largest_logit_error=0.02,
    dice_between={"WT": 0.9999},
    dice_change={"WT": 0.0001},
    limits=Limits(),
)
HERE = {"GPU": "NVIDIA GeForce GTX 1650", "TensorRT": "10.16.1.11"}
ENGINE = b"an engine"
MANIFEST_OF_IT = Manifest(
    backend="trt",
    file="engine.plan",
    engine_sha256=sha256(ENGINE),
    bundle_sha256="b" * 64,
    onnx_sha256="c" * 64,
    spec=ModelSpec(name="tiny", network=tiny_config(), window=(16, 16, 16)),
    precision="float16",
    profile="gtx1650",
    needs=HERE,
    built_with={"driver": "580.95.05"},
    shapes=((112, 128, 112), (176, 208, 176)),
    build_seconds=123.4,
    planned_bytes=400_000_000,
    candidates=(Candidate(name="float32", milliseconds=91.5, verdict="valid"),),
    parity=PARITY,
    command="ssa-fast export lite.onnx --backend trt --profile gtx1650",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "engine.plan").write_bytes(ENGINE)
    write_manifest(tmp_path, MANIFEST_OF_IT)
    return tmp_path


def _changed(**changes: Any) -> Manifest:
    return dataclasses.replace(MANIFEST_OF_IT, **changes)


def test_a_manifest_comes_back_as_it_was_written(folder: Path) -> None:
    assert read_manifest(folder) == MANIFEST_OF_IT
    assert is_engine(folder)
    assert engine_bytes(folder, MANIFEST_OF_IT) == ENGINE


def test_a_folder_without_a_manifest_is_no_engine(tmp_path: Path) -> None:
    assert not is_engine(tmp_path)
    with pytest.raises(EngineError, match=r"manifest\.json: cannot be read .*: no engine lies there"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts | {"colour": "green"},
        lambda facts: facts | {"build_seconds": "long"},
        lambda facts: {key: value for key, value in facts.items() if key != "needs"},
    ],
)
def test_a_manifest_of_another_version_is_refused(change: Any, folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(EngineError, match=r"no manifest that this version of ssa-fast reads .*: build again"):
        read_manifest(folder)


def test_a_manifest_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("{", encoding="utf-8")
    with pytest.raises(EngineError, match="build again"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("here", "difference"),
    [
        (HERE | {"GPU": "NVIDIA T4"}, "GPU NVIDIA GeForce GTX 1650, here it is NVIDIA T4"),
        (HERE | {"TensorRT": "11.4.0.106"}, r"TensorRT 10\.16\.1\.11, here it is 11\.4\.0\.106"),
        ({"GPU": HERE["GPU"]}, r"TensorRT 10\.16\.1\.11, here it is unknown"),
    ],
)
def test_another_machine_is_refused_with_the_difference_and_the_command(here: dict[str, str], difference: str) -> None:
    with pytest.raises(EngineError, match=rf"was built for {difference}: build it again: ssa-fast export lite\.onnx"):
        MANIFEST_OF_IT.check_machine(here, Path("engines/it"))


def test_the_machine_it_was_built_for_may_have_more() -> None:
    MANIFEST_OF_IT.check_machine(HERE | {"driver": "590.1"}, Path("engines/it"))


def test_another_bundle_is_refused() -> None:
    MANIFEST_OF_IT.check_bundle("b" * 64, Path("engines/it"))
    with pytest.raises(EngineError, match=r"was built from a bundle bbbbbbbbbbbb\.\.\., yours is dddddddddddd\.\.\."):
        MANIFEST_OF_IT.check_bundle("d" * 64, Path("engines/it"))


@pytest.mark.parametrize(
    ("parity", "reason"),
    [
        (None, "was never proven equal to its bundle"),
        (dataclasses.replace(PARITY, label_agreement=0.95), "equal labels on 95.0000%"),
        (dataclasses.replace(PARITY, largest_logit_error=float("nan")), "largest logit error is nan"),
    ],
)
def test_without_passing_parity_it_is_refused_unless_that_is_allowed(parity: Parity | None, reason: str) -> None:
    manifest = _changed(parity=parity)
    with pytest.raises(EngineError, match=rf"{reason}.*: run 'ssa-fast parity engines/it CASES', or .*--unproven"):
        manifest.check_parity(Path("engines/it"))
    manifest.check_parity(Path("engines/it"), is_unproven_allowed=True)


def test_passing_parity_is_enough() -> None:
    MANIFEST_OF_IT.check_parity(Path("engines/it"))


@pytest.mark.parametrize("content", [b"an engine!", b"", b"an enginE"])
def test_an_engine_that_was_changed_is_refused(content: bytes, folder: Path) -> None:
    (folder / "engine.plan").write_bytes(content)
    with pytest.raises(EngineError, match="is damaged or was exchanged: build it again: ssa-fast export"):
        engine_bytes(folder, MANIFEST_OF_IT)


def test_an_engine_whose_file_is_missing_is_refused(folder: Path) -> None:
    (folder / "engine.plan").unlink()
    with pytest.raises(EngineError, match=r"engine\.plan: cannot be read .*: build it again"):
        engine_bytes(folder, MANIFEST_OF_IT)


def test_an_engine_for_a_backend_that_is_not_there_is_refused(folder: Path) -> None:
    write_manifest(folder, _changed(backend="npu"))
    with pytest.raises(ConfigError, match="no backend 'npu'"):
        open_engine(folder)


def test_the_name_of_a_folder_has_what_an_engine_depends_on_and_no_odd_characters() -> None:
    assert (
        engine_name(MANIFEST_OF_IT, "NVIDIA GeForce GTX 1650", "TensorRT 10.16.1.11")
        == "tiny-bbbbbbbb--gtx1650--float16--geforce-gtx-1650--tensorrt-10.16.1.11"
    )
    odd = _changed(spec=dataclasses.replace(MANIFEST_OF_IT.spec, name="My Net"), profile="mine/a_b.toml")
    assert engine_name(odd, "AMD (R) 7/8", "x 1.2") == "my-net-bbbbbbbb--a-b--float16--amd-r-7-8--x-1.2"


@pytest.mark.parametrize("other", [{"precision": "float32"}, {"bundle_sha256": "d" * 64}, {"profile": "h200"}])
def test_engines_that_differ_in_what_they_were_built_from_have_folders_of_their_own(other: dict[str, str]) -> None:
    names = {engine_name(manifest, "GPU", "TensorRT 11") for manifest in (MANIFEST_OF_IT, _changed(**other))}
    assert len(names) == 2
