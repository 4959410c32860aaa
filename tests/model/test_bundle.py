"""The bundle, read without the onnx package: held against it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from ssa_fast.errors import BundleError
from ssa_fast.model.bundle import CHECKSUM, PARITY, SPEC, read_bundle, sealed


def _rewritten(path: Path, folder: Path, **changes: str | None) -> Path:
    """A copy of a bundle with entries of its metadata changed, or removed where the value is None."""
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:], entries[CHECKSUM]
    keys = {"spec": SPEC, "parity": PARITY}
    entries |= {keys[word]: value for word, value in changes.items()}
    helper.set_model_props(model, {key: value for key, value in entries.items() if value is not None})
    (folder / "changed.onnx").write_bytes(sealed(model.SerializeToString()))
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


_SEAL = 85  # bytes of the checksum's entry, which ends the file


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(share=st.floats(0, 0.9999), bits=st.integers(1, 255))
@example(share=0.5, bits=1)
@example(share=0.0, bits=128)
def test_a_byte_altered_anywhere_is_refused_in_one_line(
    tiny_bundle_path: Path, tmp_path: Path, share: float, bits: int
) -> None:
    content = bytearray(tiny_bundle_path.read_bytes())
    content[int(share * len(content))] ^= bits
    path = tmp_path / "altered.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"altered\.onnx: .*damaged") as caught:
        read_bundle(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bits", [1, 2, 16, 64, 128])
def test_a_byte_altered_in_the_checksum_itself_is_refused(tiny_bundle_path: Path, tmp_path: Path, bits: int) -> None:
    content = tiny_bundle_path.read_bytes()
    for place in range(len(content) - _SEAL, len(content)):
        path = tmp_path / "altered.onnx"
        path.write_bytes(content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :])
        with pytest.raises(BundleError, match=r"altered\.onnx: .*damaged"):
            read_bundle(path)


def test_a_weight_altered_is_damage_and_says_what_to_do(tiny_bundle_path: Path, tmp_path: Path) -> None:
    content = bytearray(tiny_bundle_path.read_bytes())
    weight = read_bundle(tiny_bundle_path).weights()["head.bias"].tobytes()
    content[content.index(weight)] ^= 4
    (tmp_path / "altered.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"altered\.onnx: is damaged .*: copy it again"):
        read_bundle(tmp_path / "altered.onnx")


def test_a_bundle_is_an_onnx_file_whose_last_entry_is_the_checksum_of_the_rest(tiny_bundle_path: Path) -> None:
    content = tiny_bundle_path.read_bytes()
    last = onnx.load(tiny_bundle_path).metadata_props[-1]
    assert (last.key, last.value) == (CHECKSUM, hashlib.sha256(content[:-_SEAL]).hexdigest())
    onnx.checker.check_model(content, full_check=True)
    assert sealed(content[:-_SEAL]) == content


def test_a_bundle_without_checksum_is_refused_unless_that_is_allowed(tiny_bundle_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "early.onnx"
    path.write_bytes(tiny_bundle_path.read_bytes()[:-_SEAL])
    with pytest.raises(BundleError, match=rf"has no checksum.*'ssa-fast export {path} --out NEW\.onnx' then gives"):
        read_bundle(path)
    assert read_bundle(path, is_unsealed_allowed=True).spec == read_bundle(tiny_bundle_path).spec


def test_damage_is_refused_also_where_no_checksum_is_needed(tiny_bundle_path: Path, tmp_path: Path) -> None:
    content = bytearray(tiny_bundle_path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "altered.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="is damaged"):
        read_bundle(tmp_path / "altered.onnx", is_unsealed_allowed=True)


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
