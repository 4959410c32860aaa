"""Engines as TensorRT-RTX really builds them, without a GPU: both networks, for two kinds of GPU."""

from __future__ import annotations

import dataclasses
from importlib import util
from pathlib import Path

import onnx
import pytest

from ssa_fast.backends.tensorrt_library import Logged, load_library
from ssa_fast.errors import BudgetError, EngineError
from ssa_fast.export.float16 import to_float16
from ssa_fast.export.profile import Profile, read_profile
from ssa_fast.export.to_bundle import onnx_graph
from ssa_fast.export.to_tensorrt import Built, Recipe, build_engine, one_shape
from ssa_fast.model.spec import PRESETS, ModelSpec, UNetConfig
from ssa_fast.model.unet import fold_batch_norm
from tests.networks import random_network

pytestmark = pytest.mark.skipif(
    util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: pip install 'ssa-fast[trt-rtx]'"
)

# bytes that TensorRT-RTX 1.7.1.116 was seen to plan for the activations of one window of 128^3
PLANNED = {
    ("lite", "ampere_plus", "float32"): 219e6,
    ("lite", "ampere_plus", "float16"): 151e6,
    ("lite", "gtx1650", "float16"): 168e6,
    ("reference", "ampere_plus", "float32"): 839e6,
    ("reference", "ampere_plus", "float16"): 419e6,
    ("reference", "gtx1650", "float16"): 583e6,
}


@pytest.fixture(scope="module")
def rtx() -> Logged:
    return load_library(is_rtx=True)


@pytest.fixture(scope="module")
def graphs() -> dict[tuple[str, str], bytes]:
    """The graph of each network with random weights, as a bundle has it, in both precisions."""
    made = {}
    for name, config in PRESETS.items():
        model = onnx_graph(fold_batch_norm(random_network(config)), is_float16=True)
        made[name, "float32"] = model.SerializeToString()
        made[name, "float16"] = to_float16(model).SerializeToString()
    return made


def _spec(name: str, config: UNetConfig | None = None) -> ModelSpec:
    return ModelSpec(name=name, network=config or PRESETS[name], window=(128, 128, 128))


def _built(
    rtx: Logged, graph: bytes, name: str, profile: Profile, precision: str = "float32", *, is_boxes: bool = False
) -> Built:
    recipe = Recipe(name=f"{precision}, strongly typed", precision=precision, onnx=graph)
    boxes = profile.boxes if is_boxes else one_shape(profile.window)
    return build_engine(rtx, recipe, _spec(name), profile, boxes, Path("no timings"))


@pytest.mark.parametrize(("name", "profile", "precision"), PLANNED)
def test_both_networks_build_within_the_memory_of_their_profile(
    name: str, profile: str, precision: str, rtx: Logged, graphs: dict[tuple[str, str], bytes]
) -> None:
    built = _built(rtx, graphs[name, precision], name, read_profile(profile), precision)
    assert len(built.content) > 2_000_000
    assert built.seconds > 0
    assert built.planned_bytes == pytest.approx(PLANNED[name, profile, precision], rel=0.1)
    assert built.planned_bytes <= read_profile(profile).activation_gb * 1e9
    assert not Path("no timings").exists()


def test_lite_builds_for_brain_boxes_of_any_size_between(rtx: Logged, graphs: dict[tuple[str, str], bytes]) -> None:
    built = _built(rtx, graphs["lite", "float16"], "lite", read_profile("gtx1650"), "float16", is_boxes=True)
    assert built.boxes == read_profile("gtx1650").boxes
    outputs = [output.name for output in onnx.load_model_from_string(built.recipe.onnx).graph.output]
    assert outputs == ["logits", "labels", "logit_mean"]  # so argmax was built for both kinds of GPU
    assert built.planned_bytes == pytest.approx(572e6, rel=0.1)


@pytest.mark.parametrize("name", ["lite", "reference"])
def test_float32_on_turing_is_refused_in_our_words(
    name: str, rtx: Logged, graphs: dict[tuple[str, str], bytes]
) -> None:
    with pytest.raises(
        EngineError, match=r"has no float32 3D convolution for Turing \(compute capability 7\.5; node node_conv3d"
    ) as caught:
        _built(rtx, graphs[name, "float32"], name, read_profile("gtx1650"))
    assert "\n" not in str(caught.value)


def test_memory_that_the_builder_lacks_is_told(rtx: Logged, graphs: dict[tuple[str, str], bytes]) -> None:
    tight = dataclasses.replace(read_profile("ampere_plus"), workspace_gb=0.001)
    with pytest.raises(EngineError, match=r"raise workspace_gb in the profile.*within workspace limit"):
        _built(rtx, graphs["lite", "float32"], "lite", tight)


def test_memory_beyond_the_profile_is_refused_with_both_numbers(
    rtx: Logged, graphs: dict[tuple[str, str], bytes]
) -> None:
    tight = dataclasses.replace(read_profile("ampere_plus"), activation_gb=0.2)
    with pytest.raises(BudgetError, match=r"plans 0\.2\d GB for activations, the profile grants 0\.20 GB"):
        _built(rtx, graphs["lite", "float32"], "lite", tight)


def test_a_capability_that_rtx_does_not_build_for_is_refused(rtx: Logged, graphs: dict[tuple[str, str], bytes]) -> None:
    with pytest.raises(EngineError, match=r"builds for SM120, .*SM75.*, not for compute capability '9\.0'"):
        _built(rtx, graphs["lite", "float32"], "lite", read_profile("h200"))


def test_an_operator_that_is_not_known_is_named(rtx: Logged, graphs: dict[tuple[str, str], bytes]) -> None:
    model = onnx.load_model_from_string(graphs["lite", "float32"])
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "NoSuchThing"
    with pytest.raises(EngineError, match="operator NoSuchThing is not one that this TensorRT can build"):
        _built(rtx, model.SerializeToString(), "lite", read_profile("ampere_plus"))


def test_what_is_no_graph_is_refused(rtx: Logged) -> None:
    with pytest.raises(EngineError, match="is not ONNX that TensorRT reads"):
        _built(rtx, b"\x08\x0a not a graph", "lite", read_profile("ampere_plus"))


def test_a_graph_that_is_not_its_specs_is_refused(rtx: Logged, graphs: dict[tuple[str, str], bytes]) -> None:
    model = onnx.load_model_from_string(graphs["lite", "float32"])
    model.graph.output[0].name = "labels"
    model.graph.node[-1].output[0] = "labels"
    with pytest.raises(
        EngineError, match=r"has 1 outputs, the first is labels .*, wanted one, logits in float32 with 4"
    ):
        _built(rtx, model.SerializeToString(), "lite", read_profile("ampere_plus"))
    half = onnx.load_model_from_string(graphs["lite", "float16"])
    half.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    with pytest.raises(EngineError, match=r"the first is windows DataType\.HALF"):
        _built(rtx, half.SerializeToString(), "lite", read_profile("ampere_plus"))


def test_boxes_that_tensorrt_refuses_are_told(rtx: Logged, graphs: dict[tuple[str, str], bytes]) -> None:
    model = onnx.load_model_from_string(graphs["lite", "float32"])
    for place, edge in zip((2, 3, 4), (64, 64, 64), strict=True):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = edge
    with pytest.raises(EngineError):
        _built(rtx, model.SerializeToString(), "lite", read_profile("ampere_plus"))
