"""Rewritten graphs compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ssa_fast.export.rewrite import REWRITES, depth_to_space, split_concat, weights_in_float32
from ssa_fast.volume.geometry import FloatArray


def _logits(model: onnx.ModelProto, windows: FloatArray) -> FloatArray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    logits: FloatArray = session.run(None, {"windows": windows})[0]
    return logits


@pytest.mark.parametrize("names", [("depth-to-space",), ("split-concat",), ("depth-to-space", "split-concat")])
def test_a_rewritten_graph_gives_the_same_logits(names: tuple[str, ...], tiny_bundle_path: Path) -> None:
    model = onnx.load(tiny_bundle_path)
    changed = model
    for name in names:
        changed = REWRITES[name](changed)
    onnx.checker.check_model(changed, full_check=True)
    for shape in ((1, 4, 16, 24, 32), (2, 4, 24, 16, 16)):
        windows = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        np.testing.assert_allclose(_logits(changed, windows), _logits(model, windows), rtol=0, atol=1e-4)


def test_each_rewrite_takes_away_the_operator_that_it_is_about(tiny_bundle_path: Path) -> None:
    model = onnx.load(tiny_bundle_path)
    before = model.SerializeToString(deterministic=True)
    assert "ConvTranspose" not in {node.op_type for node in depth_to_space(model).graph.node}
    assert "Concat" not in {node.op_type for node in split_concat(model).graph.node}
    assert model.SerializeToString(deterministic=True) == before  # a copy was changed


def test_weights_in_float32_keep_their_names_and_values(tiny_bundle_path: Path) -> None:
    model = onnx.load(tiny_bundle_path)
    plain = weights_in_float32(model)
    assert "Cast" not in {node.op_type for node in plain.graph.node}
    for stored, widened in zip(model.graph.initializer, plain.graph.initializer, strict=True):
        assert stored.name == widened.name
        np.testing.assert_array_equal(
            onnx.numpy_helper.to_array(stored).astype(np.float32), onnx.numpy_helper.to_array(widened)
        )
