"""A stand-in for TensorRT and for CUDA's runtime. IT IS NOT TENSORRT: it keeps the contract of the calls that we make.

It is there to test our side of that contract on a machine without a GPU: names, shapes, types, addresses, the order of
streams, and that all memory is given back. "Device" memory is host memory. What is put into a stream runs only when
somebody waits for it, as late as CUDA may, so that an order that nobody asked for is not there by chance. Networks are
computed by ONNX Runtime from the graph that the "engine" holds. It says nothing about speed, nor about TensorRT's own
arithmetic.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.backends.standin_builder import MAGIC, Builder, Config, Parser, Severity
from tests.backends.standin_cuda import Cuda


class ILogger:
    Severity = Severity


class TensorRT(types.ModuleType):
    """The module `tensorrt`, and what was asked of it."""

    __version__ = "10.16.1.11"
    ILogger = ILogger
    TensorIOMode = types.SimpleNamespace(INPUT="TensorIOMode.INPUT", OUTPUT="TensorIOMode.OUTPUT")
    float32, uint8 = "DataType.FLOAT", "DataType.UINT8"
    NetworkDefinitionCreationFlag = types.SimpleNamespace(STRONGLY_TYPED=1)
    MemoryPoolType = types.SimpleNamespace(WORKSPACE="WORKSPACE")
    HardwareCompatibilityLevel = types.SimpleNamespace(NONE="NONE")

    def __init__(self, cuda: Cuda) -> None:
        super().__init__("tensorrt")
        self.cuda = cuda
        self.BuilderFlag = types.SimpleNamespace(FP16="FP16")  # as in 10; 11 has none
        self.configs: list[Config] = []
        self.spoil: Callable[[bytes, bool], bytes] = lambda graph, _is_half: (
            graph
        )  # what the "builder" makes of a graph
        self.has_context = True
        self.Runtime = lambda logger: Runtime(self, logger)
        self.Builder = lambda logger: Builder(self, logger)
        self.OnnxParser = Parser


class Runtime:
    def __init__(self, library: TensorRT, logger: Any) -> None:
        self._library, self._logger = library, logger

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        if not content.startswith(MAGIC):
            # recorded from TensorRT-RTX 1.7.1.116
            said = "Serialization assertion plan.header.size == blobSize failed. In parsePlan"
            self._logger.log(Severity.ERROR, f"IRuntime::deserializeCudaEngine: Error Code 1: Serialization ({said})")
            return None
        head, graph = content.removeprefix(MAGIC).split(b"\n", 1)
        facts = json.loads(head)
        if facts["version"] != self._library.__version__:
            said = (  # as reports have it
                "The engine plan file is not compatible with this version of TensorRT, expecting library version "
                f"{self._library.__version__} got {facts['version']}, please rebuild."
            )
            self._logger.log(Severity.ERROR, f"Error Code 6: API Usage Error ({said})")
            return None
        return Engine(self._library, self._logger, facts, graph)


class Engine:
    def __init__(self, library: TensorRT, logger: Any, facts: dict[str, Any], graph: bytes) -> None:
        self.library, self.logger, self.facts = library, logger, facts
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.device_memory_size_v2 = facts["planned"]
        self.outputs = {output.name: output for output in self.session.get_outputs()}
        self.num_io_tensors = 1 + len(self.outputs)

    def get_tensor_name(self, place: int) -> str:
        return [self.session.get_inputs()[0].name, *self.outputs][place]

    def get_tensor_mode(self, name: str) -> str:
        return "TensorIOMode.INPUT" if name == "windows" else "TensorIOMode.OUTPUT"

    def get_tensor_dtype(self, name: str) -> str:
        if name in self.outputs and "uint8" in self.outputs[name].type:
            return "DataType.UINT8"
        return str(self.facts.get("dtype", "DataType.FLOAT"))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(axis if isinstance(axis, int) else -1 for axis in self.outputs[name].shape)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        channels = self.session.get_inputs()[0].shape[1]
        smallest, largest = ((1, channels, *self.facts[key]) for key in ("smallest", "largest"))
        return [smallest, largest, largest]

    def create_execution_context(self) -> Context | None:
        if not self.library.has_context:
            # recorded from TensorRT-RTX 1.7.1.116, the builder's
            said = "Error Code 2: OutOfMemory (Requested size was 1545156040 bytes.)"
            self.logger.log(Severity.ERROR, f"[localCheckMacros.cpp::getErrorStr::132] {said}")
            return None
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._addresses, self._shape = engine, dict[str, int](), tuple[int, ...]()

    def _refused(self, why: str) -> bool:
        self._engine.logger.log(Severity.ERROR, f"IExecutionContext: Error Code 3: API Usage Error ({why})")
        return False

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        smallest, _, largest = self._engine.get_tensor_profile_shape(name, 0)
        if name != "windows" or not all(a <= b <= c for a, b, c in zip(smallest, shape, largest, strict=True)):
            return self._refused(f"Supplied binding dimension {shape} for bindings[0] exceed min ~ max range")
        self._shape = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        if name not in ("windows", *self._engine.outputs) or address not in self._engine.library.cuda.device:
            return self._refused(f"no device memory for {name}")
        self._addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        if not self._shape or self._addresses.keys() != {"windows", *self._engine.outputs}:
            return self._refused("a shape or an address is not set")
        cuda, shape, addresses = self._engine.library.cuda, self._shape, dict(self._addresses)
        cuda.calls.append("execute_async_v3")

        def run() -> None:
            assert addresses["windows"] in cuda.written, "ran before its copy"
            memory = np.ctypeslib.as_array(cuda.device[addresses["windows"]]).view(np.float32)
            windows = memory[: int(np.prod(shape))].reshape(shape)
            outputs = self._engine.session.run(None, {"windows": windows})
            for name, output in zip(self._engine.outputs, outputs, strict=True):
                address = addresses[name]
                assert output.nbytes <= len(cuda.device[address]), f"{name} larger than their memory"
                ctypes.memmove(address, np.ascontiguousarray(output).ctypes.data, output.nbytes)
                cuda.written.add(address)
            cuda.written.discard(addresses["windows"])  # the next run must bring its own

        cuda.open[handle].put(run)
        return True


def install(monkeypatch: pytest.MonkeyPatch) -> TensorRT:
    """Put the stand-ins where `import` finds them, and our modules that import them afresh, until the test ends."""
    import ssa_fast.backends as room

    cuda = Cuda()
    library = TensorRT(cuda)
    bindings = types.ModuleType("cuda.bindings")
    bindings.runtime = cuda  # type: ignore[attr-defined]
    for name, module in (("tensorrt", library), ("cuda", types.ModuleType("cuda")), ("cuda.bindings", bindings)):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("cuda", "tensorrt_slot", "tensorrt"):
        # set, so that what the import does to both is undone, then taken away, so that it is done
        monkeypatch.setattr(room, name, None, raising=False)
        monkeypatch.setitem(sys.modules, f"ssa_fast.backends.{name}", library)
        delattr(room, name)
        del sys.modules[f"ssa_fast.backends.{name}"]
        importlib.import_module(f"ssa_fast.backends.{name}")
    return library


def write_engine(folder: Path, content: bytes, bundle: Any, shapes: Any, **changes: Any) -> Path:
    """The folder of an engine as `export` writes it, for the GPU of the stand-in."""
    from ssa_fast.backends.manifest import Manifest, write_manifest
    from ssa_fast.files import sha256, write_whole

    needs = {"GPU": "NVIDIA GeForce GTX 1650", "compute capability": "7.5", "multiprocessors": "14"}
    facts: dict[str, Any] = {
        "backend": "trt",
        "file": "engine.plan",
        "engine_sha256": sha256(content),
        "bundle_sha256": bundle.sha256,
        "onnx_sha256": bundle.sha256,
        "spec": bundle.spec,
        "precision": "float32",
        "profile": "gtx1650",
        "needs": {**needs, "TensorRT": "10.16.1.11"},
        "shapes": shapes,
        "build_seconds": 1.0,
        "parity": bundle.parity,
        "command": "ssa-fast export tiny.onnx --backend trt",
        **changes,
    }
    write_whole(folder / "engine.plan", content)
    write_manifest(folder, Manifest(**facts))
    return folder
