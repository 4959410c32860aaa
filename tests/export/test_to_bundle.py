"""The bundle as an ONNX graph, and that it is written only when it is equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from ssa_fast.errors import ParityError
from ssa_fast.export import to_bundle
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.unet import fold_batch_norm
from ssa_fast.volume.case import CaseFiles, find_cases
from tests.cases import write_case
from tests.networks import (
    MEMBERS,
    Stem,
    random_checkpoint,
    random_network,
    tiny_bundle,
    tiny_checkpoint,
    tiny_config,
)


@pytest.fixture
def cases(tmp_path: Path) -> list[CaseFiles]:
    return find_cases([write_case(tmp_path / "cases", name, seed=seed) for seed, name in enumerate(("A", "B"))])


def test_a_batch_norm_bundle_is_folded_named_like_the_state_dict_and_proven(tmp_path: Path) -> None:
    bundle = read_bundle(tiny_bundle(tmp_path, norm="batch", stem="none"))
    folded = fold_batch_norm(random_network(tiny_config("batch", "none")))
    weights = bundle.weights()
    assert bundle.spec.network.norm == "none"
    assert weights.keys() == folded.state_dict().keys()
    for name, tensor in folded.state_dict().items():
        np.testing.assert_array_equal(weights[name], tensor.numpy().astype(np.float16))
    assert bundle.parity is not None
    assert bundle.parity.label_agreement >= 0.999


def test_the_graph_is_dynamic_clean_and_of_opset_20(tiny_bundle_path: Path) -> None:
    model = onnx.load(tiny_bundle_path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", to_bundle.OPSET)]
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {"Cast", "Conv", "ConvTranspose", "InstanceNormalization", "Relu", "MaxPool", "Concat"}
    for value, name in ((model.graph.input[0], "windows"), (model.graph.output[0], "logits")):
        dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        assert (value.name, dims) == (name, ["batch", 4, "x", "y", "z"])
    assert not model.graph.metadata_props


def test_weights_may_be_stored_as_float32(tmp_path: Path) -> None:
    bundle = read_bundle(tiny_bundle(tmp_path, is_float16=False))
    state = tiny_checkpoint().tensors
    for name, weight in bundle.weights().items():
        assert weight.dtype == np.float32
        np.testing.assert_array_equal(weight, state[f"averaged.{name}"].numpy())


def test_a_bundle_keeps_its_spec_and_the_parent_of_its_weights(tiny_bundle_path: Path) -> None:
    spec, parent = read_bundle(tiny_bundle_path).spec, tiny_checkpoint()
    assert spec.parent == parent.sha256
    assert (spec.name, spec.window, spec.trained_on) == ("tiny", parent.spec.window, "nothing")


def test_a_network_that_differs_is_not_written(
    tmp_path: Path, cases: list[CaseFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tiny_checkpoint()
    intact = to_bundle.onnx_graph

    def damaged(network: torch.nn.Module, *, is_float16: bool) -> onnx.ModelProto:
        with torch.no_grad():
            network.head.bias[1] += 5
        return intact(network, is_float16=is_float16)

    monkeypatch.setattr(to_bundle, "onnx_graph", damaged)
    with pytest.raises(ParityError, match="nothing was written"):
        to_bundle.export_bundle(checkpoint, checkpoint.spec, cases, tmp_path / "out" / "damaged.onnx")
    assert not (tmp_path / "out").exists()


def test_it_is_proven_on_all_cases_and_their_segmentations(cases: list[CaseFiles], tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    out = tmp_path / "two.onnx"
    parity = to_bundle.export_bundle(checkpoint, checkpoint.spec, cases, out, is_float16=False)
    assert read_bundle(out).parity == parity
    assert parity.cases == ("A", "B")
    assert parity.dice_change.keys() == {"WT", "TC", "ET"}


@pytest.mark.parametrize("name", ["quarter", "residual", "bottleneck", "ghost batch at full resolution"])
def test_any_member_of_the_family_is_proven_and_says_what_it_is(
    tmp_path: Path, cases: list[CaseFiles], name: str
) -> None:
    checkpoint = random_checkpoint(MEMBERS[name])
    parity = to_bundle.export_bundle(checkpoint, checkpoint.spec, cases[:1], tmp_path / "out.onnx", is_float16=False)
    bundle = read_bundle(tmp_path / "out.onnx")
    folded = fold_batch_norm(random_network(MEMBERS[name]))
    assert parity.label_agreement >= 0.999
    assert bundle.spec.network == folded.config
    assert bundle.weights().keys() == folded.state_dict().keys()


@pytest.mark.parametrize("stem", ["none", "half"])
def test_a_group_norm_bundle_is_proven_too(tmp_path: Path, stem: Stem) -> None:
    bundle = read_bundle(tiny_bundle(tmp_path, norm="group", stem=stem))
    assert bundle.spec.network.norm == "group"
    assert bundle.parity is not None
    assert bundle.parity.label_agreement >= 0.999
