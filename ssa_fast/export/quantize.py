"""The same graph with its convolutions in int8: Q/DQ pairs that OpenVINO and ONNX Runtime both take up.

Weights are int8, symmetric, one scale an output channel. Activations are uint8 with one scale and zero point a tensor,
quantized once, after their ReLU and before pooling and concatenation, so that those run in int8 too. One file
serves both engines, and no quantization library is needed; what NNCF 3.4 and ONNX Runtime's quantizer made of the same
network stands beside it in benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ssa_fast import hardware
from ssa_fast.errors import ShapeError
from ssa_fast.export.rewrite import weights_in_float32
from ssa_fast.volume.geometry import FloatArray

__all__ = ["Ranges", "layers_of", "quantize", "ranges_of"]

Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value that is told apart, by the name of an activation."""

_CONVOLUTIONS = {"Conv": 0, "ConvTranspose": 1}  # the axis of their weight that is the output channel


def layers_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the convolutions, such as `encoder.0.conv1`, in the order in which they run."""
    return tuple(_layer(node) for node in weights_in_float32(model).graph.node if node.op_type in _CONVOLUTIONS)


def ranges_of(model: onnx.ModelProto, windows: Iterable[FloatArray]) -> Ranges:
    """The ranges of everything that `quantize` quantizes, over windows (1, C, X, Y, Z), by ONNX Runtime in float32.

    All values count: ranges that held 99.99 % of them agreed less with float32 (`lite`, 99.64 % of a brain's labels
    where these agree on 99.90 %). Raises ShapeError for no window.
    """
    plain = weights_in_float32(model)
    names = sorted({name for sources in _Plan(plain, ()).sources.values() for name in sources})
    inputs = {value.name for value in plain.graph.input}
    watched = [name for name in names if name not in inputs]
    plain.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in watched)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = hardware.cpu().threads
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(plain.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for brain in windows:
        values = {name: brain for name in names if name in inputs}
        values |= dict(zip(watched, session.run(watched, {plain.graph.input[0].name: brain}), strict=True))
        for name, array in values.items():
            seen[name].append((float(array.min()), float(array.max())))
    if not all(seen.values()):
        raise ShapeError("no case to calibrate on: give one or more")
    return {name: (min(low for low, _ in pairs), max(high for _, high in pairs)) for name, pairs in seen.items()}


def quantize(model: onnx.ModelProto, ranges: Ranges, kept: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of `model` with every convolution in int8 but the layers `kept`, which stay in float32."""
    result = weights_in_float32(model)
    graph = result.graph
    plan = _Plan(result, kept)
    pairs = plan.pairs(ranges)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[NodeProto] = [node for name in pairs if name == graph.input[0].name for node in pairs[name].nodes(name)]
    initializers = [tensor for name, pair in pairs.items() for tensor in pair.initializers(name)]
    replaced = set()
    for original in graph.node:
        node = NodeProto()
        node.CopyFrom(original)
        if original.output[0] in plan.quantized:
            for place, name in enumerate(node.input):
                node.input[place] = f"{name}.dequantized" if name in pairs else name
        if node.op_type in _CONVOLUTIONS and original.output[0] in plan.quantized:
            name = node.input[1]
            initializers += _weight(weights[name], name, _CONVOLUTIONS[node.op_type])
            axis = _CONVOLUTIONS[node.op_type]
            parts = [f"{name}.int8", f"{name}.scale", f"{name}.zero"]
            nodes.append(
                helper.make_node("DequantizeLinear", parts, [f"{name}.float32"], name=f"{name}.dequantize", axis=axis)
            )
            node.input[1] = f"{name}.float32"
            replaced.add(name)
        nodes.append(node)
        nodes += [new for name in original.output if name in pairs for new in pairs[name].nodes(name)]
    left = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    initializers += [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in left]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(initializers)
    return result


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """One activation's quantization: value = scale * (code - zero)."""

    scale: float
    zero: int

    def nodes(self, name: str) -> Iterator[NodeProto]:
        """Quantize and dequantize `name`."""
        facts = [f"{name}.scale", f"{name}.zero"]
        yield helper.make_node("QuantizeLinear", [name, *facts], [f"{name}.uint8"], name=f"{name}.quantize")
        yield helper.make_node(
            "DequantizeLinear", [f"{name}.uint8", *facts], [f"{name}.dequantized"], name=f"{name}.dequantize"
        )

    def initializers(self, name: str) -> Iterator[onnx.TensorProto]:
        """What the nodes read."""
        yield numpy_helper.from_array(np.array(self.scale, dtype=np.float32), f"{name}.scale")
        yield numpy_helper.from_array(np.array(self.zero, dtype=np.uint8), f"{name}.zero")


class _Plan:
    """Which nodes run in int8, and which activations are quantized for them."""

    def __init__(self, model: onnx.ModelProto, kept: Collection[str]) -> None:
        made_by = {node.output[0]: node for node in model.graph.node}
        self.quantized: set[str] = set()  # outputs of the nodes that read quantized values
        self.sources: dict[str, tuple[str, ...]] = {}  # a layer: the activations that are quantized for it
        for node in model.graph.node:
            if node.op_type in _CONVOLUTIONS and _layer(node) not in kept:
                self.quantized.add(node.output[0])
                self.sources[_layer(node)] = tuple(self._sources(made_by, node.input[0]))

    def _sources(self, made_by: Mapping[str, NodeProto], name: str) -> Iterator[str]:
        """The values from which pooling and concatenation make `name`, and those nodes are noted on the way."""
        node = made_by.get(name)
        if node is None or node.op_type not in ("MaxPool", "Concat"):
            yield name
            return
        self.quantized.add(name)
        for part in node.input:
            yield from self._sources(made_by, part)

    def pairs(self, ranges: Ranges) -> dict[str, _Pair]:
        """The pair of each activation; those of one concatenation share theirs, or it could not run in int8."""
        groups: list[set[str]] = []
        for sources in self.sources.values():
            joined = set(sources).union(*(group for group in groups if group & set(sources)))
            groups = [group for group in groups if not group & joined] + [joined]
        return {name: _pair([ranges[member] for member in group]) for group in groups for name in sorted(group)}


def _pair(ranges: Sequence[tuple[float, float]]) -> _Pair:
    low, high = min(0.0, *(low for low, _ in ranges)), max(0.0, *(high for _, high in ranges))  # 0 must be exact
    scale = max(high - low, 1e-6) / 255
    return _Pair(scale=scale, zero=round(-low / scale))


def _weight(weight: npt.NDArray[np.float32], name: str, axis: int) -> Iterator[onnx.TensorProto]:
    """A weight in int8 with its scales (K,) and zero points, all 0."""
    others = tuple(place for place in range(weight.ndim) if place != axis)
    scale = np.maximum(np.abs(weight).max(axis=others), 1e-9).astype(np.float32) / 127
    codes = np.rint(weight / np.expand_dims(scale, others)).astype(np.int8)
    yield numpy_helper.from_array(codes, f"{name}.int8")
    yield numpy_helper.from_array(scale, f"{name}.scale")
    yield numpy_helper.from_array(np.zeros(len(scale), dtype=np.int8), f"{name}.zero")


def _layer(node: NodeProto) -> str:
    return str(node.input[1]).removesuffix(".weight")
