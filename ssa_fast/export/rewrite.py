"""Graphs that compute the same in other steps: pure functions from model to model, each an option that is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

__all__ = ["REWRITES", "depth_to_space", "split_concat", "weights_in_float32"]


def weights_in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which weights that were stored as float16 and cast are stored as float32, under their names."""
    result = _copy(model)
    weights = {tensor.name: tensor for tensor in result.graph.initializer}
    faces: dict[str, str] = {}  # what a cast gave: the weight that it was made of
    nodes = []
    for node in result.graph.node:
        if node.op_type == "Cast" and node.input[0] in weights:
            faces[node.output[0]] = node.input[0]
            continue
        for place, name in enumerate(node.input):
            node.input[place] = faces.get(name, name)
        nodes.append(node)
    for name in faces.values():
        array = numpy_helper.to_array(weights[name])
        weights[name].CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))
    return _with_nodes(result, nodes)


def depth_to_space(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each 2x2x2 transposed convolution of stride 2 as a 1x1x1 convolution to eight times the channels, and a shuffle.

    A transposed convolution whose kernel is its stride writes each output voxel once, so it is a convolution with one
    tap. ONNX's own DepthToSpace is for two axes: reshape, transpose and reshape stand for it.
    """
    result = weights_in_float32(model)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.graph.initializer}
    nodes: list[NodeProto] = []
    for node in result.graph.node:
        if node.op_type == "ConvTranspose" and arrays[node.input[1]].shape[2:] == (2, 2, 2):
            nodes += _as_shuffle(result.graph, node, arrays)
        else:
            nodes.append(node)
    return _with_nodes(result, nodes)


def split_concat(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each convolution of a concatenation as the sum of the convolutions of its parts: no copy of the parts."""
    result = weights_in_float32(model)
    graph = result.graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolved = {node.input[0] for node in graph.node if node.op_type == "Conv"}
    joins = {node.output[0]: node for node in graph.node if node.op_type == "Concat" and node.output[0] in convolved}
    channels = _channels(result)
    nodes: list[NodeProto] = []
    for node in graph.node:
        join = joins.get(node.input[0]) if node.op_type == "Conv" else None
        if join is not None:
            nodes += _as_sum(graph, node, arrays, {part: channels[part] for part in join.input})
        elif node.output[0] not in joins:
            nodes.append(node)
    return _with_nodes(result, nodes)


REWRITES: Mapping[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = MappingProxyType(
    {"depth-to-space": depth_to_space, "split-concat": split_concat}
)
"""By the name that `export --rewrite` knows; none is a default: benchmarks/README.md has what each one is worth."""


def _as_shuffle(
    graph: onnx.GraphProto, node: NodeProto, arrays: Mapping[str, npt.NDArray[np.float32]]
) -> list[NodeProto]:
    """The nodes for one transposed convolution; its weight (C, K, 2, 2, 2) is stored as (8K, C, 1, 1, 1)."""
    weight = arrays[node.input[1]]
    inputs, outputs = weight.shape[:2]
    name, result = node.input[1].removesuffix(".weight"), node.output[0]
    _replace(graph, node.input[1], np.moveaxis(weight, 0, -1).reshape(-1, inputs, 1, 1, 1))
    if len(node.input) > 2:
        _replace(graph, node.input[2], np.repeat(arrays[node.input[2]], 8))
    parts = {
        f"{name}.batch": np.array([0], dtype=np.int64),
        f"{name}.split": np.array([outputs, 2, 2, 2], dtype=np.int64),
        f"{name}.channels": np.array([outputs], dtype=np.int64),
        f"{name}.two": np.array([2, 2, 2], dtype=np.int64),
    }
    constants = [helper.make_node("Constant", [], [key], value=numpy_helper.from_array(parts[key])) for key in parts]
    return [
        *constants,
        helper.make_node("Conv", node.input, [f"{result}.taps"], name=f"{name}.conv", kernel_shape=[1, 1, 1]),
        helper.make_node("Shape", [f"{result}.taps"], [f"{name}.edges"], start=2),  # X Y Z
        helper.make_node("Mul", [f"{name}.edges", f"{name}.two"], [f"{name}.doubled"]),
        helper.make_node(
            "Concat", [f"{name}.batch", f"{name}.split", f"{name}.edges"], [f"{name}.eight"], axis=0
        ),  # (N, K, 2, 2, 2, X, Y, Z): 0 takes the batch over
        helper.make_node("Reshape", [f"{result}.taps", f"{name}.eight"], [f"{result}.eight"]),
        helper.make_node("Transpose", [f"{result}.eight"], [f"{result}.woven"], perm=[0, 1, 5, 2, 6, 3, 7, 4]),
        helper.make_node("Concat", [f"{name}.batch", f"{name}.channels", f"{name}.doubled"], [f"{name}.five"], axis=0),
        helper.make_node("Reshape", [f"{result}.woven", f"{name}.five"], [result]),  # (N, K, 2X, 2Y, 2Z)
    ]


def _as_sum(
    graph: onnx.GraphProto, node: NodeProto, arrays: Mapping[str, npt.NDArray[np.float32]], parts: Mapping[str, int]
) -> list[NodeProto]:
    """The nodes for one convolution of `parts`, channels by name: the bias stays with the first."""
    weight, name, first, sums = arrays[node.input[1]], node.input[1], 0, []
    nodes = []
    for place, (part, width) in enumerate(parts.items()):
        own = name if place == 0 else f"{name}.{place}"
        _replace(graph, own, weight[:, first : first + width])
        copied = _duplicate(node)
        copied.name = f"{node.name}.{place}"
        del copied.input[:], copied.output[:]
        copied.input.extend([part, own, *(node.input[2:] if place == 0 else ())])
        copied.output.append(f"{node.output[0]}.{place}")
        nodes.append(copied)
        sums.append(copied.output[0])
        first += width
    total = sums[0]
    for place, other in enumerate(sums[1:], start=1):
        output = node.output[0] if place == len(sums) - 1 else f"{node.output[0]}.sum{place}"
        nodes.append(helper.make_node("Add", [total, other], [output], name=f"{node.name}.sum{place}"))
        total = output
    return nodes


def _channels(model: onnx.ModelProto) -> dict[str, int]:
    """Channels of each value of five axes."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.value_info)}
    return {name: shape[1].dim_value for name, shape in shapes.items() if len(shape) == 5}


def _replace(graph: onnx.GraphProto, name: str, array: npt.NDArray[np.float32]) -> None:
    tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
    for old in graph.initializer:
        if old.name == name:
            old.CopyFrom(tensor)
            return
    graph.initializer.append(tensor)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result


def _duplicate(node: NodeProto) -> NodeProto:
    result = NodeProto()
    result.CopyFrom(node)
    return result


def _with_nodes(model: onnx.ModelProto, nodes: list[NodeProto]) -> onnx.ModelProto:
    kept = [_duplicate(node) for node in nodes]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(kept)
    return model
