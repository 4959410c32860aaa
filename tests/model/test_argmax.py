"""Labels added to a graph, as every reader of ONNX sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper

from ssa_fast.model.argmax import with_labels
from ssa_fast.model.bundle import read_bundle
from ssa_fast.volume.geometry import FloatArray


def _identity() -> bytes:
    """A "network" whose logits are its windows."""
    axes = ["batch", 4, "x", "y", "z"]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name in ("windows", "logits")]
    graph = helper.make_graph([helper.make_node("Identity", ["windows"], ["logits"])], "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


SESSION = onnxruntime.InferenceSession(with_labels(_identity()), providers=["CPUExecutionProvider"])


def test_a_bundle_with_labels_is_valid_onnx_of_the_same_weights(tiny_bundle_path: Path) -> None:
    content = read_bundle(tiny_bundle_path).content
    before, after = (onnx.load_model_from_string(one) for one in (content, with_labels(content)))
    onnx.checker.check_model(after, full_check=True)
    assert [output.name for output in after.graph.output] == ["logits", "labels", "logit_mean"]
    assert list(after.graph.initializer) == list(before.graph.initializer)
    assert list(after.metadata_props) == list(before.metadata_props)
    kinds = [output.type.tensor_type.elem_type for output in after.graph.output]
    assert kinds == [TensorProto.FLOAT, TensorProto.UINT8, TensorProto.FLOAT]


# few values, so that ties are common
@given(hnp.arrays(np.float32, (2, 4, 3, 2, 4), elements=st.sampled_from([-1, 0, 0.5, 2, np.inf])))
def test_labels_are_numpys_argmax_also_in_ties(logits: FloatArray) -> None:
    labels, logit_mean = SESSION.run(["labels", "logit_mean"], {"windows": logits})
    np.testing.assert_array_equal(labels, np.argmax(logits, axis=1))
    assert labels.dtype == np.uint8
    assert logit_mean == pytest.approx(logits.mean(), rel=1e-5)


@given(st.integers(0, 2 * 4 * 3 * 2 * 4 - 1))
def test_one_nan_anywhere_is_in_the_mean(place: int) -> None:
    logits = np.zeros((2, 4, 3, 2, 4), dtype=np.float32)
    logits.flat[place] = np.nan
    assert np.isnan(SESSION.run(["logit_mean"], {"windows": logits})[0])
