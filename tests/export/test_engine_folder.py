"""What an engine may take the place of, and that it is told."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from ssa_fast.backends.manifest import MANIFEST, Manifest, engine_bytes, read_manifest
from ssa_fast.errors import EngineError
from ssa_fast.export.engine_folder import Place, Proven, keep_engine, proven_on
from ssa_fast.files import sha256
from ssa_fast.model.parity import Parity
from ssa_fast.model.spec import ModelSpec, UNetConfig

REAL, PHANTOM = "BraTS-SSA-00002-000", "BraTS-SSA-90000-000"
HERE = {"GPU": "a GPU", "TensorRT": "11.0"}


def _parity(*cases: str, agreement: float = 1.0) -> Parity:
    return Parity(
        reference="the bundle",
        candidate="an engine",
        cases=cases,
        label_agreement=agreement,
        mean_logit_error=0.0,
        largest_logit_error=0.0,
        dice_between={"WT": 1.0},
    )


def _manifest(content: bytes, parity: Parity | None, **changes: object) -> Manifest:
    manifest = Manifest(
        backend="trt",
        file="engine.plan",
        engine_sha256=sha256(content),
        bundle_sha256="b" * 64,
        onnx_sha256="c" * 64,
        spec=ModelSpec(name="tiny", network=UNetConfig(), window=(16, 16, 16)),
        precision="float16",
        profile="gtx1650",
        needs=HERE,
        build_seconds=1.0,
        parity=parity,
        command="ssa-fast export tiny.onnx",
    )
    return dataclasses.replace(manifest, **changes)  # type: ignore[arg-type]


def _kept(root: Path, content: bytes, parity: Parity | None, *, is_forced: bool = False, **changes: object) -> Path:
    place = Place(root=root, is_forced=is_forced)
    manifest = _manifest(content, parity, **changes)
    return keep_engine(place, manifest, {manifest.file: content}, "a GPU", "TensorRT 11.0")


@pytest.mark.parametrize(
    ("parity", "wanted"),
    [
        (None, Proven.NOTHING),
        (_parity(REAL, agreement=0.5), Proven.NOTHING),
        (_parity(PHANTOM, "BraTS-SSA-90013-007"), Proven.PHANTOMS),
        (_parity(PHANTOM, REAL), Proven.REAL_BRAINS),
    ],
)
def test_real_brains_prove_more_than_phantoms_and_those_more_than_nothing(
    parity: Parity | None, wanted: Proven
) -> None:
    assert proven_on(parity) is wanted


def test_a_new_engine_is_written_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _kept(tmp_path, b"one", _parity(PHANTOM))
    assert engine_bytes(folder, read_manifest(folder)) == b"one"
    assert not caplog.records


@pytest.mark.parametrize("later", [_parity(PHANTOM), None])
def test_an_engine_proven_on_less_does_not_replace_one_of_real_brains(later: Parity | None, tmp_path: Path) -> None:
    folder = _kept(tmp_path, b"good", _parity(REAL))
    proof = "1 phantom" if later else "nothing"
    with pytest.raises(EngineError, match=rf"was proven on 1 case, this one on {proof}: give real cases.*--force"):
        _kept(tmp_path, b"less", later)
    assert engine_bytes(folder, read_manifest(folder)) == b"good"


def test_it_does_if_that_is_forced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _kept(tmp_path, b"good", _parity(REAL, "BraTS-SSA-00003-000"))
    folder = _kept(tmp_path, b"less", _parity(PHANTOM), is_forced=True)
    assert engine_bytes(folder, read_manifest(folder)) == b"less"
    assert "takes the place of an engine that was proven on 2 cases; this one on 1 phantom" in caplog.text


@pytest.mark.parametrize("earlier", [_parity(PHANTOM), _parity(REAL), None])
def test_an_equal_or_worse_one_is_replaced_and_named(
    earlier: Parity | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _kept(tmp_path, b"old", earlier)
    folder = _kept(tmp_path, b"new", _parity(REAL))
    assert engine_bytes(folder, read_manifest(folder)) == b"new"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert str(folder) in record.getMessage()


@pytest.mark.parametrize("fault", ["damaged", "labels", "machine", "manifest"])
def test_one_that_would_be_refused_protects_nothing(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs = {**HERE, "multiprocessors": "14"} if fault == "machine" else HERE
    apart = {"gives": ("logits", "labels"), "labels_file": "labels.plan", "labels_sha256": sha256(b"whole")}
    folder = _kept(tmp_path, b"old", _parity(REAL), needs=needs, **apart if fault == "labels" else {})
    if fault == "damaged":
        (folder / "engine.plan").write_bytes(b"odd")
    if fault == "labels":
        (folder / "labels.plan").write_bytes(b"odd")
    if fault == "manifest":
        (folder / MANIFEST).write_text("{}", encoding="utf-8")
    caplog.clear()
    _kept(tmp_path, b"new", _parity(PHANTOM), needs={**HERE, "multiprocessors": "16"} if fault == "machine" else HERE)
    assert engine_bytes(folder, read_manifest(folder)) == b"new"
    assert "takes the place of an engine that would be refused: " in caplog.text


def test_engines_of_two_precisions_lie_side_by_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folders = {_kept(tmp_path, b"x", _parity(REAL), precision=name) for name in ("float32", "float16")}
    assert len(folders) == 2
    assert not caplog.records
