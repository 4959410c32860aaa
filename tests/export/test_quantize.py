"""A graph in int8: what is quantized, and how near it stays."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from ssa_fast.errors import ShapeError
from ssa_fast.export.quantize import Ranges, layers_of, quantize, ranges_of
from ssa_fast.volume.geometry import FloatArray


@pytest.fixture(scope="module")
def model(tiny_bundle_path: Path) -> onnx.ModelProto:
    return onnx.load(tiny_bundle_path)


@pytest.fixture(scope="module")
def windows() -> FloatArray:
    return np.random.default_rng(0).standard_normal((1, 4, 16, 24, 32), dtype=np.float32)


@pytest.fixture(scope="module")
def ranges(model: onnx.ModelProto, windows: FloatArray) -> Ranges:
    return ranges_of(model, [windows])


def _logits(model: onnx.ModelProto, windows: FloatArray) -> FloatArray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    logits: FloatArray = session.run(None, {"windows": windows})[0]
    return logits


def test_all_convolutions_are_quantized_with_a_scale_a_channel(model: onnx.ModelProto, ranges: Ranges) -> None:
    quantized = quantize(model, ranges)
    onnx.checker.check_model(quantized, full_check=True)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    made_by = {node.output[0]: node for node in quantized.graph.node}
    convolutions = [node for node in quantized.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert len(convolutions) == len(layers_of(model))
    for node in convolutions:
        weight = made_by[node.input[1]]
        codes, scale = stored[weight.input[0]], stored[weight.input[1]]
        axis = int(node.op_type == "ConvTranspose")
        assert codes.dtype == np.int8
        assert scale.shape == (codes.shape[axis],)
        assert np.abs(codes).max(axis=tuple(place for place in range(5) if place != axis)).min() == 127  # all used


def test_an_activation_is_quantized_once_and_before_it_is_pooled_or_joined(
    model: onnx.ModelProto, ranges: Ranges
) -> None:
    graph = quantize(model, ranges).graph
    counts = Counter(node.input[0] for node in graph.node if node.op_type == "QuantizeLinear")
    assert counts.keys() == ranges.keys()
    assert set(counts.values()) == {1}
    pooled = [node.input[0] for node in graph.node if node.op_type in ("MaxPool", "Concat")]
    assert all(name.endswith(".dequantized") for name in pooled)


def test_what_is_joined_has_one_scale(model: onnx.ModelProto, ranges: Ranges) -> None:
    graph = quantize(model, ranges).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    joins = [node for node in graph.node if node.op_type == "Concat"]
    assert joins
    for node in joins:
        parts = [name.removesuffix(".dequantized") for name in node.input]
        assert len({(float(stored[f"{part}.scale"]), int(stored[f"{part}.zero"])) for part in parts}) == 1


def test_zero_is_exact_and_the_range_is_covered(model: onnx.ModelProto, windows: FloatArray, ranges: Ranges) -> None:
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantize(model, ranges).graph.initializer}
    for name, (low, high) in ranges.items():
        scale, zero = float(stored[f"{name}.scale"]), int(stored[f"{name}.zero"])
        assert scale * (0 - zero) <= low + scale
        assert scale * (255 - zero) >= high - scale
    assert ranges["windows"] == (float(windows.min()), float(windows.max()))


def test_logits_stay_near_those_of_float32(model: onnx.ModelProto, windows: FloatArray, ranges: Ranges) -> None:
    wanted, seen = _logits(model, windows), _logits(quantize(model, ranges), windows)
    assert np.corrcoef(wanted.ravel(), seen.ravel())[0, 1] > 0.99
    assert np.abs(wanted - seen).max() > 0  # it is another arithmetic


def test_a_kept_layer_stays_in_float_and_all_kept_is_the_float_network(
    model: onnx.ModelProto, windows: FloatArray, ranges: Ranges
) -> None:
    one = quantize(model, ranges, kept=("full.conv",))
    names = {tensor.name for tensor in one.graph.initializer}
    assert "full.conv.weight" in names
    assert "full.conv.weight.int8" not in names
    assert "head.weight.int8" in names
    onnx.checker.check_model(one, full_check=True)
    whole = quantize(model, ranges, kept=layers_of(model))
    assert not [node for node in whole.graph.node if node.op_type == "QuantizeLinear"]
    np.testing.assert_allclose(_logits(whole, windows), _logits(model, windows), rtol=0, atol=1e-5)


def test_layers_are_named_as_in_the_network_in_their_order(model: onnx.ModelProto) -> None:
    layers = layers_of(model)
    assert (layers[0], layers[-1]) == ("stem", "head")
    assert len(layers) == len(set(layers)) == 16


def test_calibrating_on_nothing_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ShapeError, match="no case to calibrate on"):
        ranges_of(model, [])
