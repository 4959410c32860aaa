"""A graph in float16: its types, its names and its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from ssa_fast.errors import BundleError
from ssa_fast.export.float16 import to_float16
from ssa_fast.model.bundle import read_bundle
from tests.networks import Norm, tiny_bundle


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of each node's first output, by the node's operator and name."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    return {f"{node.op_type} {node.name}": kinds[node.output[0]] for node in inferred.node}


def _logits(model: onnx.ModelProto, windows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"windows": windows})[0]


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
@pytest.mark.parametrize("is_float16", [True, False], ids=["stored-as-float16", "stored-as-float32"])
def test_convolutions_compute_in_float16_and_norms_in_float32(tmp_path: Path, norm: Norm, is_float16: bool) -> None:
    model = onnx.load(tiny_bundle(tmp_path, norm=norm, is_float16=is_float16))
    half = to_float16(model)
    onnx.checker.check_model(half, full_check=True)
    for node, kind in _types(half).items():
        if node.startswith(("Conv", "Relu", "MaxPool", "Concat")):
            assert kind == TensorProto.FLOAT16, node
        if node.startswith("InstanceNormalization"):
            assert kind == TensorProto.FLOAT, node
    for value in (half.graph.input[0], half.graph.output[0]):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    windows = np.random.default_rng(0).standard_normal((1, 4, 16, 24, 16), dtype=np.float32)
    np.testing.assert_allclose(_logits(half, windows), _logits(model, windows), rtol=0, atol=0.05)


def test_no_cast_follows_another_and_no_weight_is_cast_to_float16(tiny_bundle_path: Path) -> None:
    half = to_float16(onnx.load(tiny_bundle_path))
    made_by = {output: node for node in half.graph.node for output in node.output}
    casts = [node for node in half.graph.node if node.op_type == "Cast"]
    assert not [node.name for node in casts if getattr(made_by.get(node.input[0]), "op_type", "") == "Cast"]
    weights = {weight.name for weight in half.graph.initializer}
    assert all(node.attribute[0].i == TensorProto.FLOAT for node in casts if node.input[0] in weights)


def test_norms_may_be_in_float16_too(tiny_bundle_path: Path) -> None:
    half = to_float16(onnx.load(tiny_bundle_path), kept=())
    assert [node.op_type for node in half.graph.node].count("Cast") == 2  # in and out
    assert set(_types(half).values()) == {TensorProto.FLOAT16, TensorProto.FLOAT}


def test_weights_keep_their_names_and_metadata_stays(tiny_bundle_path: Path) -> None:
    before = onnx.load(tiny_bundle_path)
    after = to_float16(before)
    assert [weight.name for weight in after.graph.initializer] == [weight.name for weight in before.graph.initializer]
    assert after.metadata_props == before.metadata_props
    assert read_bundle(tiny_bundle_path).content == before.SerializeToString(deterministic=True)  # a copy was changed


def test_a_weight_beyond_the_range_of_float16_is_named(tmp_path: Path) -> None:
    model = onnx.load(tiny_bundle(tmp_path, is_float16=False))
    weight = next(one for one in model.graph.initializer if one.name == "head.bias")
    weight.CopyFrom(numpy_helper.from_array(np.array([1, 2, -1e5, 0], dtype=np.float32), "head.bias"))
    with pytest.raises(BundleError, match=r"'head\.bias' is beyond float16's range"):
        to_float16(model)
