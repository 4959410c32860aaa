"""The same graph with weights and arithmetic in float16, for engines that take their types from the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ssa_fast.errors import BundleError

__all__ = ["KEPT_IN_FLOAT32", "to_float16"]

KEPT_IN_FLOAT32 = frozenset({"InstanceNormalization"})
"""Operators that float16 is no good for: a brain's voxels number millions, and float16 ends at 65,504."""

_HALF, _FULL = TensorProto.FLOAT16, TensorProto.FLOAT


def to_float16(model: onnx.ModelProto, kept: Collection[str] = KEPT_IN_FLOAT32) -> onnx.ModelProto:
    """A copy of `model` that takes and gives float32 and computes in float16, but for the operators `kept`.

    Weights keep their names. Those that were stored as float16 and cast are used as they are.

    Raises BundleError if a weight is beyond float16's range or the graph is quantized.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if any(node.op_type == "DequantizeLinear" for node in graph.node):
        raise BundleError("the graph is quantized: float16 is made from a float32 bundle")
    rewriter = _Rewriter(model, kept)
    nodes = rewriter.nodes()
    del graph.node[:], graph.value_info[:], graph.initializer[:]
    graph.initializer.extend(rewriter.initializers.values())
    graph.node.extend(nodes)
    return result


class _Rewriter:
    """One pass over the nodes; casts are put where a value is wanted in the type that it does not have."""

    def __init__(self, model: onnx.ModelProto, kept: Collection[str]) -> None:
        self._graph, self._kept = model.graph, kept
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        values = (*inferred.input, *inferred.output, *inferred.value_info)
        self._floats = {value.name for value in values if value.type.tensor_type.elem_type == _FULL}
        self._floats |= {name for name, tensor in self.initializers.items() if tensor.data_type == _FULL}
        self._native = dict.fromkeys(self._floats, _FULL)  # the type in which a value is there without a cast
        self._casts: dict[str, str] = {}  # a value: the same in its other type
        self._nodes: list[NodeProto] = []

    def nodes(self) -> list[NodeProto]:
        """The nodes in order, casts among them."""
        self._store_as_half(self._wanted_in_half())
        outputs = {value.name for value in self._graph.output}
        for original in self._graph.node:
            if original.op_type == "Cast" and original.input[0] in self.initializers:
                continue  # of a stored weight: made again where float32 is wanted
            node = NodeProto()
            node.CopyFrom(original)
            is_half = self._is_half(original)
            for place, name in enumerate(node.input):
                node.input[place] = self._as(name, _HALF if is_half else _FULL)
            self._nodes.append(node)
            for place, name in enumerate(node.output):
                if is_half and name in outputs:
                    node.output[place] = f"{name}.float16"
                    self._cast(f"{name}.float16", name, _FULL)
                elif is_half and name in self._floats:
                    self._native[name] = _HALF
        return self._nodes

    def _is_half(self, node: NodeProto) -> bool:
        return node.op_type not in self._kept and node.op_type != "Constant"

    def _wanted_in_half(self) -> Iterable[str]:
        """Float32 initializers of which an operator in float16 reads."""
        read = {name for node in self._graph.node if self._is_half(node) for name in node.input}
        return [name for name in self.initializers if name in read and name in self._floats]

    def _store_as_half(self, names: Iterable[str]) -> None:
        for name in names:
            weight = numpy_helper.to_array(self.initializers[name])
            if np.abs(weight).max(initial=0) > np.finfo(np.float16).max:
                raise BundleError(f"weight '{name}' is beyond float16's range: take --precision float32")
            self.initializers[name] = numpy_helper.from_array(weight.astype(np.float16), name)
            self._native[name] = _HALF
        for node in self._graph.node:
            if node.op_type == "Cast" and node.input[0] in self.initializers:
                self._native[node.input[0]] = _HALF
                self._native[node.output[0]] = _FULL
                self._casts[node.output[0]] = node.input[0]

    def _as(self, name: str, wanted: int) -> str:
        """The name under which a float value is there in the type wanted, by a cast if need be."""
        stored = self._casts.get(name, name)
        if stored in self.initializers and stored != name:  # the float32 face of a stored weight
            name = stored
        if name not in self._native or self._native[name] == wanted:
            return name
        if name not in self._casts:
            other = f"{name}.{'float16' if wanted == _HALF else 'float32'}"
            self._cast(name, other, wanted)
            self._casts[name] = other
        return self._casts[name]

    def _cast(self, source: str, target: str, kind: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}.cast", to=kind))
