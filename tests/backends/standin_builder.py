"""The builder's half of the stand-in for TensorRT. IT IS NOT TENSORRT: see `standin_tensorrt`."""

from __future__ import annotations

import enum
import json
import types
from typing import Any

import numpy as np
import onnx

MAGIC = b"STAND-IN FOR AN ENGINE\n"


class Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


def plan_of(graph: bytes, smallest: tuple[int, ...], largest: tuple[int, ...], **more: Any) -> bytes:
    """What stands in for an engine: a line of facts, then the graph."""
    facts = {"version": "10.16.1.11", "smallest": smallest, "largest": largest, "planned": 5_000_000, **more}
    return MAGIC + json.dumps(facts).encode() + b"\n" + graph


class Tensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        kinds = {onnx.TensorProto.FLOAT: "DataType.FLOAT", onnx.TensorProto.UINT8: "DataType.UINT8"}
        self.dtype = kinds.get(value.type.tensor_type.elem_type, "DataType.HALF")
        self.shape = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim]


class Network:
    def __init__(self, flags: int) -> None:
        self.flags, self.content, self.inputs, self.outputs = flags, b"", list[Tensor](), list[Tensor]()

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))

    def get_input(self, place: int) -> Tensor:
        return self.inputs[place]

    def get_output(self, place: int) -> Tensor:
        return self.outputs[place]


class Parser:
    num_errors = 0

    def __init__(self, network: Network, _logger: Any) -> None:
        self._network = network

    def parse(self, content: bytes) -> bool:
        graph = onnx.load_model_from_string(content).graph
        self._network.content = content
        self._network.inputs = [Tensor(value) for value in graph.input]
        self._network.outputs = [Tensor(value) for value in graph.output]
        return True


class Timings:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"timed;"


class Config:
    def __init__(self) -> None:
        self.pools: dict[str, int] = {}
        self.flags: set[str] = set()
        self.timings: Timings | None = None
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.builder_optimization_level, self.hardware_compatibility_level = 3, "unset"

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.pools[pool] = size

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def create_timing_cache(self, content: bytes) -> Timings:
        return Timings(content)

    def set_timing_cache(self, timings: Timings, ignore_mismatch: bool) -> bool:
        self.timings = timings
        return not timings.content.startswith(b"of another GPU")

    def get_timing_cache(self) -> Timings | None:
        return self.timings

    def add_optimization_profile(self, profile: Any) -> int:
        self.shapes = profile.shapes
        return 0


class Builder:
    def __init__(self, library: Any, logger: Any) -> None:
        self._library, self._logger = library, logger

    def create_network(self, flags: int) -> Network:
        return Network(flags)

    def create_builder_config(self) -> Config:
        config = Config()
        self._library.configs.append(config)
        return config

    def create_optimization_profile(self) -> Any:
        profile = types.SimpleNamespace(shapes=())
        profile.set_shape = lambda name, *shapes: setattr(profile, "shapes", shapes)
        return profile

    def build_serialized_network(self, network: Network, config: Config) -> bytes:
        planned = 4 * 16 * int(np.prod(config.shapes[-1][2:]))
        # in the words of TensorRT's log
        self._logger.log(Severity.INFO, f"Total Activation Memory: {planned} bytes")
        graph = self._library.spoil(network.content, "FP16" in config.flags)
        return plan_of(graph, config.shapes[0][2:], config.shapes[-1][2:], planned=planned)
