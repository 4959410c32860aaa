"""The bundles that come with ssa-fast."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ssa_fast.model.bundle import read_bundle
from ssa_fast.pretrained import shipped_bundle, shipped_bundles

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_shipped_bundle_is_whole_and_proven(name: str) -> None:
    bundle = read_bundle(shipped_bundle(name))
    assert bundle.has_checksum
    assert bundle.parity is not None
    assert bundle.parity.has_passed


@pytest.mark.parametrize("record", ["epyc-2-threads", "parity-epyc-2-threads"])
def test_a_record_is_of_the_shipped_bundle(record: str) -> None:
    """By its own SHA-256, or that of all before its checksum, which it was before there was one."""
    content = shipped_bundle("lite").read_bytes()
    text = (ROOT / "benchmarks" / "results" / "0.1.0" / f"{record}.json").read_text(encoding="utf-8")
    fingerprints = {hashlib.sha256(part).hexdigest() for part in (content, content[:-85])}
    assert json.loads(text)["bundle_sha256"] in fingerprints


def test_the_model_card_names_the_file_that_is_shipped() -> None:
    card = shipped_bundle("lite").with_suffix(".md").read_text(encoding="utf-8")
    assert f"`{hashlib.sha256(shipped_bundle('lite').read_bytes()).hexdigest()[:8]}...`" in card
