"""Labels beside logits in the graph itself: what is added to a bundle, without the onnx package.

Two serialized protocol-buffers messages, one after the other, are read as one: repeated fields are joined, nested
messages merged. So nodes and outputs are added to a graph by bytes behind it, and its weights are not touched.
Sources: the encoding of protocol buffers ("Last One Wins"); field numbers of onnx.proto of ONNX 1.22.
"""

from __future__ import annotations

__all__ = ["LABELS", "LOGITS", "LOGIT_MEAN", "with_labels"]

LOGITS, LABELS, LOGIT_MEAN = "logits", "labels", "logit_mean"
"""Names of outputs: float32 (N, K, X, Y, Z); uint8 (N, X, Y, Z); float32 (), NaN where a logit of the batch is."""

_FLOAT, _UINT8 = 1, 2  # of TensorProto.DataType
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_OUTPUT = 1, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TYPE = 1, 3, 20
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT, _TENSOR_SHAPE = 1, 2, 1, 1, 2
_SHAPE_DIM, _DIM_NAME = 1, 2
_INT = 2  # of AttributeProto.AttributeType


def with_labels(graph: bytes) -> bytes:
    """An ONNX model that gives `logits` alone, with `labels` and `logit_mean` as further outputs.

    The lowest label wins a tie, as in numpy's argmax. What argmax makes of NaN is each engine's own affair, but a mean
    carries NaN along: NaN in `logit_mean` says that a logit is NaN, or that there are infinities of both signs.
    TensorRT makes uint8 from floating point alone, hence the float32 between.
    """
    parts = [
        _node("ArgMax", LOGITS, f"{LABELS}.int64", axis=1, keepdims=0),
        _node("Cast", f"{LABELS}.int64", f"{LABELS}.float32", to=_FLOAT),
        _node("Cast", f"{LABELS}.float32", LABELS, to=_UINT8),
        _node("ReduceMean", LOGITS, LOGIT_MEAN, keepdims=0),
    ]
    added = b"".join(_message(_GRAPH_NODE, part) for part in parts)
    added += _message(_GRAPH_OUTPUT, _value(LABELS, _UINT8, ("batch", "x", "y", "z")))
    added += _message(_GRAPH_OUTPUT, _value(LOGIT_MEAN, _FLOAT, ()))
    return graph + _message(_MODEL_GRAPH, added)


def _node(operator: str, source: str, result: str, **attributes: int) -> bytes:
    """A NodeProto of one input and one output."""
    texts = ((_NODE_INPUT, source), (_NODE_OUTPUT, result), (_NODE_NAME, f"{result}.node"), (_NODE_OPERATOR, operator))
    node = b"".join(_message(number, text.encode()) for number, text in texts)
    for name, value in attributes.items():
        parts = _message(_ATTRIBUTE_NAME, name.encode()) + _number(_ATTRIBUTE_INT, value)
        node += _message(_NODE_ATTRIBUTE, parts + _number(_ATTRIBUTE_TYPE, _INT))
    return node


def _value(name: str, element: int, axes: tuple[str, ...]) -> bytes:
    """A ValueInfoProto of a tensor whose axes have names and no sizes."""
    shape = b"".join(_message(_SHAPE_DIM, _message(_DIM_NAME, axis.encode())) for axis in axes)
    tensor = _number(_TENSOR_ELEMENT, element) + _message(_TENSOR_SHAPE, shape)
    return _message(_VALUE_NAME, name.encode()) + _message(_VALUE_TYPE, _message(_TYPE_TENSOR, tensor))


def _message(number: int, content: bytes) -> bytes:
    """A field that holds a nested message or a text."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    """A field that holds a whole number."""
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
