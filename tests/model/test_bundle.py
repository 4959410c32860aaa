"""The bundle, read without the onnx package: held against it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from ssa_fast.errors import BundleError
from ssa_fast.model.bundle import PARITY, SPEC, read_bundle


def _rewritten(path: Path, folder: Path, **changes: str | None) -> Path:
    """A copy of a bundle with entries of its metadata changed, or removed where the value is None."""
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    keys = {"spec": SPEC, "parity": PARITY}
    entries |= {keys[word]: value for word, value in changes.items()}
    helper.set_model_props(model, {key: value for key, value in entries.items() if value is not None})
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx"


def test_metadata_and_weights_are_those_that_onnx_reads(tiny_bundle_path: Path) -> None:
    bundle, model = read_bundle(tiny_bundle_path), onnx.load(tiny_bundle_path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert bundle.spec.to_json() == entries[SPEC]
    assert bundle.parity is not None
    assert bundle.parity.label_agreement >= 0.999
    weights = bundle.weights()
    assert weights.keys() == {initializer.name for initializer in model.graph.initializer}
    for initializer in model.graph.initializer:
        np.testing.assert_array_equal(weights[initializer.name], numpy_helper.to_array(initializer))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_bundle_cut_off_anywhere_is_refused_in_one_line(tiny_bundle_path: Path, tmp_path: Path, share: float) -> None:
    content = tiny_bundle_path.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BundleError, match=r"cut\.onnx") as caught:
        read_bundle(path)
    assert "\n" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(content=st.binary(max_size=64))
def test_bytes_that_are_no_bundle_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"noise\.onnx"):
        read_bundle(path)


def test_an_onnx_file_of_another_program_is_refused(tiny_bundle_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle of ssa-fast"):
        read_bundle(_rewritten(tiny_bundle_path, tmp_path, spec=None))


def test_a_bundle_without_parity_record_is_refused(tiny_bundle_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="never proven equal"):
        read_bundle(_rewritten(tiny_bundle_path, tmp_path, parity=None))


def test_a_damaged_parity_record_is_a_bundle_error(tiny_bundle_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="its parity record is damaged"):
        read_bundle(_rewritten(tiny_bundle_path, tmp_path, parity='{"label_agreement": 0.9'))


def test_a_bundle_of_a_later_version_is_refused_with_the_key_it_does_not_know(
    tiny_bundle_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="unknown key 'sharpness'"):
        read_bundle(_rewritten(tiny_bundle_path, tmp_path, spec='{"sharpness": 1}'))


def test_reading_a_bundle_imports_neither_onnx_nor_torch(tiny_bundle_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ssa_fast.model.bundle import read_bundle\n"
        f"read_bundle(Path({str(tiny_bundle_path)!r})).weights()\n"
        "assert not {'onnx', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
