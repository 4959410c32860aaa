"""The bundle that a form is held against: given, itself, or the shipped one that it was made from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ssa_fast.backends.manifest import Manifest
from ssa_fast.errors import ConfigError, EngineError
from ssa_fast.export.reference import reference_of_bundle, reference_of_engine
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.pretrained import shipped_bundle

FOLDER = Path("engines/one")


@pytest.fixture(scope="module")
def lite() -> Bundle:
    return read_bundle(shipped_bundle("lite"))


def _engine_of(fingerprint: str, bundle: Bundle) -> Manifest:
    return Manifest(
        backend="trt",
        file="engine",
        engine_sha256="",
        bundle_sha256=fingerprint,
        onnx_sha256="",
        spec=bundle.spec,
        precision="float16",
        profile="gtx1650",
        needs={},
        build_seconds=1.0,
        command="ssa-fast export",
    )


def test_a_float32_bundle_is_its_own_reference(lite: Bundle) -> None:
    assert reference_of_bundle(lite) is lite


@pytest.mark.parametrize("arithmetic", ["float16", "int8"])
def test_another_form_is_held_against_the_shipped_bundle_of_its_checkpoint(arithmetic: str, lite: Bundle) -> None:
    form = dataclasses.replace(lite, path=Path("form.onnx"), arithmetic=arithmetic)  # type: ignore[arg-type]
    assert reference_of_bundle(form).path == lite.path


def test_a_form_of_a_network_that_is_not_shipped_wants_its_bundle(lite: Bundle, tiny_bundle_path: Path) -> None:
    form = dataclasses.replace(read_bundle(tiny_bundle_path), arithmetic="int8")
    with pytest.raises(ConfigError, match=r"no shipped bundle is its float32 parent: give that FILE\.onnx too"):
        reference_of_bundle(form)
    assert reference_of_bundle(form, str(tiny_bundle_path)).path == tiny_bundle_path
    with pytest.raises(ConfigError, match="come from different checkpoints"):
        reference_of_bundle(form, "lite")


def test_an_engine_is_held_against_the_very_bundle_that_it_was_built_from(lite: Bundle, tiny_bundle_path: Path) -> None:
    assert reference_of_engine(_engine_of(lite.sha256, lite), FOLDER).path == lite.path
    tiny = read_bundle(tiny_bundle_path)
    stranger = _engine_of(tiny.sha256, tiny)
    with pytest.raises(ConfigError, match="was built from no shipped bundle"):
        reference_of_engine(stranger, FOLDER)
    assert reference_of_engine(stranger, FOLDER, str(tiny_bundle_path)).sha256 == tiny.sha256
    with pytest.raises(EngineError, match="was built from a bundle"):
        reference_of_engine(stranger, FOLDER, "lite")
