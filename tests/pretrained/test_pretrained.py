"""The bundles that come with ssa-fast."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ssa_fast.errors import BundleError
from ssa_fast.model.bundle import read_bundle
from ssa_fast.pretrained import DEFAULT_BUNDLE, bundle_path, shipped_bundle, shipped_bundles

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_shipped_bundle_is_whole_and_proven(name: str) -> None:
    bundle = read_bundle(shipped_bundle(name))
    assert bundle.has_checksum
    assert bundle.parity is not None
    assert bundle.parity.has_passed


def test_what_runs_where_nothing_is_said_is_there() -> None:
    assert DEFAULT_BUNDLE in shipped_bundles()


@pytest.mark.parametrize(
    ("record", "name"),
    [("epyc-2-threads", "lite"), ("parity-epyc-2-threads", "lite"), ("parity-fast", "fast"), ("quality-fast", "fast")],
)
def test_a_record_is_of_the_shipped_weights(record: str, name: str) -> None:
    """By the SHA-256 of the file, or of one that the model card says had the same weights and graph."""
    assert f"`{_record(record)['bundle_sha256'][:8]}...`" in _card(name)


@pytest.mark.parametrize("name", ["fast", "lite"])
def test_the_cohort_beside_lite_is_of_the_shipped_weights(name: str) -> None:
    found = _record("search-cohort")["bundles_sha256"][f"{name} bf16"]
    assert found == hashlib.sha256(shipped_bundle(name).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_shipped_bundle_names_the_postprocessing_that_its_card_tells_of(name: str) -> None:
    assert f"It names the postprocessing `{read_bundle(shipped_bundle(name)).spec.postprocessing}`" in _card(name)


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_model_card_names_the_file_that_is_shipped(name: str) -> None:
    assert f"`{hashlib.sha256(shipped_bundle(name).read_bytes()).hexdigest()[:8]}...`" in _card(name)


def _record(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / "0.1.0" / f"{name}.json").read_text(encoding="utf-8"))


def _card(name: str) -> str:
    return shipped_bundle(name).with_suffix(".md").read_text(encoding="utf-8")


def test_a_file_is_taken_whatever_it_is_called_and_a_shipped_name_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.bin", "lite"):
        Path(name).write_bytes(shipped_bundle("lite").read_bytes())
    assert bundle_path("mine.bin") == Path("mine.bin")
    assert bundle_path("lite") == shipped_bundle("lite")
    assert bundle_path("not/there.onnx") == Path("not/there.onnx")  # whoever reads it says what is wrong


def test_a_file_that_is_no_bundle_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a bundle", encoding="utf-8")
    with pytest.raises(BundleError, match=r"notes\.txt: not an ONNX file"):
        read_bundle(bundle_path(str(path)))


def test_what_is_no_file_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"a folder, not a bundle: give an \.onnx .*\(fast, lite\).*manifest\.json"):
        bundle_path(str(tmp_path))
    with pytest.raises(
        BundleError, match=r"no bundle 'light' comes with ssa-fast \(there are: fast, lite\), and no file has"
    ):
        bundle_path("light")
    checkpoint = tmp_path / "last.safetensors"
    checkpoint.touch()
    with pytest.raises(BundleError, match="a checkpoint, not a bundle: make one of it with 'ssa-fast export'"):
        bundle_path(str(checkpoint))
