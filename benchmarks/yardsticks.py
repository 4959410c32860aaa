"""The most arithmetic that this processor was seen to do: matrix products by torch, convolutions by OpenVINO."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx
import openvino
import torch
from onnx import TensorProto, helper, numpy_helper

from ssa_fast import hardware
from ssa_fast.export.quantize import quantize, ranges_of

__all__ = ["Yardstick", "best_yardstick", "seconds_of", "yardsticks"]

_PRODUCT_EDGE, _SMALL_EDGE = 2048, 128
# channels and edge of the volume: 29 to 116 billion operations a convolution, four of them
_CONVOLUTIONS, _SMALL_CONVOLUTIONS = ((32, 96), (64, 64), (128, 32), (256, 32)), ((32, 16),)
_CHAIN = 4  # in a network results stay in its precision from layer to layer; only the first and last do not
_TORCH = {"float32": torch.float32, "bf16": torch.bfloat16}
_OPENVINO = {"float32": "f32", "bf16": "bf16", "int8": "bf16" if hardware.cpu().has_bf16 else "f32"}


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """Work that a good network cannot beat by much."""

    name: str
    operations: float
    work: Callable[[], object]


def yardsticks(precision: str, *, is_small: bool = False) -> Iterator[Yardstick]:
    """All of a precision: float32, bf16 or int8. The small ones only show that they run."""
    edge = _SMALL_EDGE if is_small else _PRODUCT_EDGE
    yield Yardstick(
        name=f"torch, product of {edge} x {edge} matrices", operations=2 * edge**3, work=_product(precision, edge)
    )
    for channels, size in _SMALL_CONVOLUTIONS if is_small else _CONVOLUTIONS:
        yield Yardstick(
            name=f"OpenVINO, {_CHAIN} convolutions 3x3x3 of {channels} channels at {size}^3",
            operations=_CHAIN * 2 * 27 * channels**2 * size**3,
            work=_convolutions(precision, channels, size),
        )


def best_yardstick(precision: str, *, is_small: bool = False) -> tuple[Yardstick, dict[str, float]]:
    """The fastest, and what each did: billions of operations a second, at its best of three calls."""
    found, pace = {}, {}
    for one in yardsticks(precision, is_small=is_small):
        one.work()  # chooses kernels, fills caches
        found[one.name], pace[one.name] = one, one.operations / min(seconds_of(one.work) for _ in range(3)) / 1e9
    best = max(pace, key=lambda name: pace[name])
    return found[best], {name: round(value, 1) for name, value in pace.items()}


def seconds_of(work: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _product(precision: str, edge: int) -> Callable[[], object]:
    torch.set_num_threads(hardware.cpu().threads)
    generator = torch.Generator().manual_seed(0)
    if precision == "int8":
        one, other = (torch.randint(-127, 127, (edge, edge), generator=generator, dtype=torch.int8) for _ in range(2))
        return lambda: torch._int_mm(one, other)
    left, right = (torch.randn((edge, edge), generator=generator).to(_TORCH[precision]) for _ in range(2))
    return lambda: left @ right


def _convolutions(precision: str, channels: int, edge: int) -> Callable[[], object]:
    windows = np.random.default_rng(0).standard_normal((1, channels, edge, edge, edge), dtype=np.float32)
    model = _chain(channels)
    if precision == "int8":
        model = quantize(model, ranges_of(model, [windows]))
    compiled = _core().compile_model(
        _core().read_model(model.SerializeToString()),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": _OPENVINO[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": hardware.cpu().threads,
        },
    )
    request = compiled.create_infer_request()
    return lambda: request.infer({0: openvino.Tensor(windows, shared_memory=True)}, share_outputs=True)


@lru_cache(maxsize=1)
def _core() -> openvino.Core:
    """One that stays: with one that has gone, the next signal may be a segmentation fault (`backends/openvino.py`)."""
    return openvino.Core()


def _chain(channels: int) -> onnx.ModelProto:
    """Convolutions of equal channels with ReLU, in the form in which `quantize` takes a network."""
    rng = np.random.default_rng(1)
    shape: list[str | int] = [1, channels, "x", "y", "z"]
    nodes, weights, name = [], [], "windows"
    for place in range(_CHAIN):
        weight = rng.standard_normal((channels, channels, 3, 3, 3), dtype=np.float32) / np.float32(27 * channels) ** 0.5
        weights.append(numpy_helper.from_array(weight, f"conv{place}.weight"))
        nodes.append(
            helper.make_node("Conv", [name, f"conv{place}.weight"], [f"conv{place}"], f"conv{place}", pads=[1] * 6)
        )
        nodes.append(helper.make_node("Relu", [f"conv{place}"], [f"relu{place}"], f"relu{place}"))
        name = f"relu{place}"
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("windows", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
