"""OpenVINO engines: built, opened again, and refused where they do not belong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ssa_fast import hardware
from ssa_fast.backends import open_backend, open_engine
from ssa_fast.backends.manifest import Manifest, read_manifest, write_manifest
from ssa_fast.errors import EngineError, ParityError
from ssa_fast.export import to_openvino
from ssa_fast.export.engine_folder import Place
from ssa_fast.export.parity import Answer, answers_of, open_reference, read_proofs
from ssa_fast.export.profile import Profile, read_profile
from ssa_fast.export.to_openvino import build_openvino, usual_profile
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.model.parity import Limits
from ssa_fast.volume.case import find_cases
from tests.cases import write_case

Engine = tuple[Path, Manifest]
LOOSE = Limits(label_agreement=0.5, dice_change=1.0)


@pytest.fixture(scope="module")
def bundle(tiny_bundle_path: Path) -> Bundle:
    return read_bundle(tiny_bundle_path)


@pytest.fixture(scope="module")
def answers(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    files = find_cases([write_case(tmp_path_factory.mktemp("case"), "A-001")])
    return answers_of(open_reference(bundle)[1], read_proofs(files, bundle.spec.divisor))


def _profile(*precisions: str, **limits: Limits) -> Profile:
    return dataclasses.replace(read_profile("cpu_avx512"), precisions=precisions, limits=limits)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def engine(bundle: Bundle, answers: list[Answer], tmp_path_factory: pytest.TempPathFactory) -> Engine:
    profile, root = _profile("float32", "int8", int8=LOOSE), tmp_path_factory.mktemp("engines")
    return build_openvino(bundle, profile, "cpu_avx512", answers, Place(root=root), command="ssa-fast export tiny")


@pytest.fixture
def copied(engine: Engine, tmp_path: Path) -> Engine:
    """One that may be spoilt."""
    folder = tmp_path / "engine"
    folder.mkdir()
    for file in engine[0].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder, engine[1]


def test_an_engine_keeps_the_fastest_valid_candidate_and_the_table_of_all(engine: Engine, bundle: Bundle) -> None:
    folder, manifest = engine
    assert folder.name.startswith(f"tiny-{bundle.sha256[:8]}--cpu-avx512--{manifest.precision}--")
    assert read_manifest(folder) == manifest
    assert len(manifest.candidates) == 2
    [kept] = [one for one in manifest.candidates if one.verdict.startswith("kept")]
    assert kept.milliseconds == min(one.milliseconds or 0 for one in manifest.candidates)
    assert manifest.parity is not None
    assert manifest.parity.has_passed


def test_an_engine_gives_what_the_compiled_bundle_gives(bundle: Bundle, answers: list[Answer], tmp_path: Path) -> None:
    folder, _ = build_openvino(
        bundle, _profile("float32"), "cpu_avx512", answers, Place(root=tmp_path), command="again"
    )
    windows = answers[0].proof.windows
    opened, wanted = open_engine(folder), open_backend("openvino", bundle, "float32")
    assert opened.device == wanted.device
    np.testing.assert_array_equal(opened.logits(windows), wanted.logits(windows))


def test_an_int8_engine_says_what_its_other_layers_are_in(
    bundle: Bundle, answers: list[Answer], tmp_path: Path
) -> None:
    profile = _profile("int8", int8=LOOSE)
    folder, manifest = build_openvino(bundle, profile, "cpu_avx512", answers, Place(root=tmp_path), command="again")
    device = open_engine(folder).device
    assert (device.precision, device.others) == ("int8", manifest.built_with["others"])
    assert manifest.built_with["layers in float"] == "none"


def test_no_engine_is_written_if_no_candidate_is_equal(bundle: Bundle, answers: list[Answer], tmp_path: Path) -> None:
    profile = _profile("float32", float32=Limits(logit_error=0.0))
    with pytest.raises(EngineError, match=r"no engine is equal to it.*largest logit error"):
        build_openvino(bundle, profile, "cpu_avx512", answers, Place(root=tmp_path / "engines"), command="again")
    assert not (tmp_path / "engines").exists()


def test_a_precision_that_cannot_be_built_does_not_cost_the_others(
    bundle: Bundle, answers: list[Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfit(*_: object, **__: object) -> None:
        raise ParityError("no layer can be in int8")

    monkeypatch.setattr(to_openvino, "int8_form", unfit)
    _, manifest = build_openvino(
        bundle, _profile("float32", "int8"), "test", answers, Place(root=tmp_path), command="again"
    )
    assert manifest.precision == "float32"
    assert manifest.candidates[-1].verdict == "dropped: no layer can be in int8"
    with pytest.raises(EngineError, match="float16: OpenVINO widens it"):
        build_openvino(bundle, _profile("float16"), "test", answers, Place(root=tmp_path), command="again")


def test_an_engine_of_another_machine_is_refused_with_the_command_that_builds_it(
    copied: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = copied
    other = dataclasses.replace(hardware.cpu(), name="another processor")
    monkeypatch.setattr(hardware, "cpu", lambda: other)
    with pytest.raises(EngineError, match=r"was built for processor .* here it is another processor.*ssa-fast export"):
        open_engine(folder)


def test_an_engine_of_another_version_is_refused(copied: Engine) -> None:
    folder, manifest = copied
    needs = {**manifest.needs, "openvino": "2020.1"}
    write_manifest(folder, dataclasses.replace(manifest, needs=needs))
    with pytest.raises(EngineError, match=r"was built for openvino 2020\.1"):
        open_engine(folder)


def test_a_damaged_engine_is_refused(copied: Engine) -> None:
    folder, manifest = copied
    content = bytearray((folder / manifest.file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / manifest.file).write_bytes(content)
    with pytest.raises(EngineError, match="is damaged or was exchanged"):
        open_engine(folder)


@pytest.mark.parametrize("record", ["none", "failed"])
def test_an_engine_without_a_passing_record_runs_only_if_that_is_allowed(record: str, copied: Engine) -> None:
    folder, manifest = copied
    assert manifest.parity is not None
    failed = dataclasses.replace(manifest.parity, label_agreement=0.1)
    write_manifest(folder, dataclasses.replace(manifest, parity=failed if record == "failed" else None))
    reason = "equal labels on 10" if record == "failed" else "was never proven"
    with pytest.raises(EngineError, match=f"{reason}.*run 'ssa-fast parity .*--unproven"):
        open_engine(folder)
    assert open_engine(folder, is_unproven_allowed=True).spec == manifest.spec


def test_the_usual_profile_is_that_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, wanted in (({"avx512f"}, "cpu_avx512"), ({"avx2"}, "cpu_avx2")):
        processor = dataclasses.replace(hardware.cpu(), flags=frozenset(flags))
        monkeypatch.setattr(hardware, "cpu", lambda processor=processor: processor)
        assert usual_profile() == wanted
