"""A stand-in for TensorRT and for CUDA's runtime. IT IS NOT TENSORRT: it keeps the contract of the calls that we make.

It is there to test our side of that contract on a machine without a GPU: names, shapes, types, addresses, the order of
streams, and that all memory is given back. "Device" memory is host memory. What is put into a stream runs only when
somebody waits for it, as late as CUDA may, so that an order that nobody asked for is not there by chance. Networks are
computed by ONNX Runtime from the graph that the "engine" holds. It says nothing about speed, nor about TensorRT's own
arithmetic.
"""

from __future__ import annotations

import ctypes
import enum
import importlib
import json
import sys
import types
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

MAGIC = b"STAND-IN FOR AN ENGINE\n"


class Code(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35


class Stream:
    """What was put in and has not run."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()
        self.captured: list[Callable[[], None]] | None = None

    def put(self, work: Callable[[], None]) -> None:
        (self.waiting if self.captured is None else self.captured).append(work)

    def drain(self) -> None:
        while self.waiting:
            self.waiting.popleft()()


class Mark:
    """One record of an event."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.is_reached = stream, False

    def reach(self) -> None:
        self.is_reached = True

    def wait(self) -> None:
        while not self.is_reached:
            self.stream.waiting.popleft()()


class Cuda:
    """`cuda.bindings.runtime`: every call gives its error code first."""

    cudaStreamNonBlocking, cudaEventDisableTiming = 1, 2
    cudaStreamCaptureMode = types.SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaMemcpyKind = types.SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.device: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.open: dict[int, Any] = {}  # streams, events and graphs by handle
        self.written: set[int] = set()  # device addresses that hold what was copied or computed there
        self.left_bytes = 1 << 34
        self.failing: dict[str, Code] = {}  # call -> the code that it gives
        self.gpu = types.SimpleNamespace(name=b"NVIDIA GeForce GTX 1650", major=7, minor=5, multiProcessorCount=14)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("cuda") or not callable(found) or name == "cudaGetErrorString":
            return found

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            return (self.failing[name], None, None) if name in self.failing else found(*arguments)

        return call

    def cudaGetErrorString(self, code: Code) -> Any:
        words = {35: b"CUDA driver version is insufficient for CUDA runtime version", 2: b"out of memory"}
        return Code.cudaSuccess, words.get(int(code), b"invalid argument")

    def cudaGetDeviceProperties(self, _device: int) -> Any:
        return Code.cudaSuccess, self.gpu

    def cudaDriverGetVersion(self) -> Any:
        return Code.cudaSuccess, 13000

    def cudaRuntimeGetVersion(self) -> Any:
        return Code.cudaSuccess, 13010

    def cudaMemGetInfo(self) -> Any:
        return Code.cudaSuccess, self.left_bytes, 1 << 34

    def _allocated(self, size: int, place: dict[int, Any]) -> Any:
        if size > self.left_bytes:
            return Code.cudaErrorMemoryAllocation, None
        self.left_bytes -= size
        memory = (ctypes.c_ubyte * size)()
        ctypes.memset(memory, 0xFF, size)  # NaN
        place[ctypes.addressof(memory)] = memory
        return Code.cudaSuccess, ctypes.addressof(memory)

    def cudaMalloc(self, size: int) -> Any:
        return self._allocated(size, self.device)

    def cudaMallocHost(self, size: int) -> Any:
        return self._allocated(size, self.pinned)

    def _freed(self, address: int, place: dict[int, Any]) -> Any:
        if address not in place:
            return (Code.cudaErrorInvalidValue,)
        self.left_bytes += len(place.pop(address))
        return (Code.cudaSuccess,)

    def cudaFree(self, address: int) -> Any:
        return self._freed(address, self.device)

    def cudaFreeHost(self, address: int) -> Any:
        return self._freed(address, self.pinned)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, handle: int) -> Any:
        places = (self.device, self.pinned) if kind == 1 else (self.pinned, self.device)
        if target not in places[0] or source not in places[1]:
            return (Code.cudaErrorInvalidValue,)
        if size > min(len(places[0][target]), len(places[1][source])):
            return (Code.cudaErrorInvalidValue,)

        def copy() -> None:
            assert kind == 1 or source in self.written, "copied out before it was computed"
            ctypes.memmove(target, source, size)
            self.written.add(target)

        self.open[handle].put(copy)
        return (Code.cudaSuccess,)

    def _opened(self, thing: Any) -> Any:
        handle = 1 + max(self.open, default=1000)
        self.open[handle] = thing
        return Code.cudaSuccess, handle

    def _closed(self, handle: int) -> Any:
        del self.open[handle]
        return (Code.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, _flags: int) -> Any:
        return self._opened(Stream())

    def cudaStreamSynchronize(self, handle: int) -> Any:
        self.open[handle].drain()
        return (Code.cudaSuccess,)

    def cudaStreamWaitEvent(self, handle: int, event: int, _flags: int) -> Any:
        mark: Mark = self.open[event][0]
        self.open[handle].put(mark.wait)
        return (Code.cudaSuccess,)

    def cudaEventCreateWithFlags(self, _flags: int) -> Any:
        return self._opened([])

    def cudaEventRecord(self, event: int, handle: int) -> Any:
        mark = Mark(self.open[handle])
        self.open[event][:] = [mark]
        self.open[handle].put(mark.reach)
        return (Code.cudaSuccess,)

    def cudaEventSynchronize(self, event: int) -> Any:
        self.open[event][0].wait()
        return (Code.cudaSuccess,)

    def cudaStreamBeginCapture(self, handle: int, _mode: int) -> Any:
        self.open[handle].captured = []
        return (Code.cudaSuccess,)

    def cudaStreamEndCapture(self, handle: int) -> Any:
        work, self.open[handle].captured = self.open[handle].captured, None
        return self._opened(work)

    def cudaGraphInstantiate(self, graph: int, _flags: int) -> Any:
        return self._opened(self.open[graph])

    def cudaGraphLaunch(self, graph: int, handle: int) -> Any:
        for work in self.open[graph]:
            self.open[handle].put(work)
        return (Code.cudaSuccess,)

    cudaStreamDestroy = cudaEventDestroy = cudaGraphDestroy = cudaGraphExecDestroy = _closed


class Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    Severity = Severity


def plan_of(graph: bytes, smallest: tuple[int, ...], largest: tuple[int, ...], **more: Any) -> bytes:
    """What stands in for an engine: a line of facts, then the graph."""
    facts = {"version": "10.16.1.11", "smallest": smallest, "largest": largest, "planned": 5_000_000, **more}
    return MAGIC + json.dumps(facts).encode() + b"\n" + graph


class TensorRT(types.ModuleType):
    """The module `tensorrt`, and what was asked of it."""

    __version__ = "10.16.1.11"
    ILogger = ILogger
    TensorIOMode = types.SimpleNamespace(INPUT="TensorIOMode.INPUT", OUTPUT="TensorIOMode.OUTPUT")
    float32 = "DataType.FLOAT"
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
    num_io_tensors = 2

    def __init__(self, library: TensorRT, logger: Any, facts: dict[str, Any], graph: bytes) -> None:
        self.library, self.logger, self.facts = library, logger, facts
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.device_memory_size_v2 = facts["planned"]

    def get_tensor_name(self, place: int) -> str:
        return [self.session.get_inputs()[0].name, self.session.get_outputs()[0].name][place]

    def get_tensor_mode(self, name: str) -> str:
        return "TensorIOMode.INPUT" if name == "windows" else "TensorIOMode.OUTPUT"

    def get_tensor_dtype(self, name: str) -> str:
        return str(self.facts.get("dtype", "DataType.FLOAT"))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, self.session.get_outputs()[0].shape[1], -1, -1, -1)

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
        if name not in ("windows", "logits") or address not in self._engine.library.cuda.device:
            return self._refused(f"no device memory for {name}")
        self._addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        if not self._shape or self._addresses.keys() != {"windows", "logits"}:
            return self._refused("a shape or an address is not set")
        cuda, shape, addresses = self._engine.library.cuda, self._shape, dict(self._addresses)
        cuda.calls.append("execute_async_v3")

        def run() -> None:
            assert addresses["windows"] in cuda.written, "ran before its copy"
            memory = np.ctypeslib.as_array(cuda.device[addresses["windows"]]).view(np.float32)
            windows = memory[: int(np.prod(shape))].reshape(shape)
            logits = self._engine.session.run(None, {"windows": windows})[0]
            assert logits.nbytes <= len(cuda.device[addresses["logits"]]), "logits larger than their memory"
            ctypes.memmove(addresses["logits"], np.ascontiguousarray(logits).ctypes.data, logits.nbytes)
            cuda.written.add(addresses["logits"])
            cuda.written.discard(addresses["windows"])  # the next run must bring its own

        cuda.open[handle].put(run)
        return True


class Tensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        self.dtype = "DataType.FLOAT" if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT else "DataType.HALF"
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

    def add_optimization_profile(self, profile: Any) -> int:
        self.shapes = profile.shapes
        return 0


class Builder:
    def __init__(self, library: TensorRT, logger: Any) -> None:
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


def install(monkeypatch: pytest.MonkeyPatch) -> TensorRT:
    """Put the stand-ins where `import` finds them, and our modules that import them afresh, until the test ends."""
    import ssa_fast.backends as room

    cuda = Cuda()
    library = TensorRT(cuda)
    bindings = types.ModuleType("cuda.bindings")
    bindings.runtime = cuda  # type: ignore[attr-defined]
    for name, module in (("tensorrt", library), ("cuda", types.ModuleType("cuda")), ("cuda.bindings", bindings)):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("cuda", "tensorrt"):
        monkeypatch.delattr(room, name, raising=False)
        monkeypatch.setitem(sys.modules, f"ssa_fast.backends.{name}", library)  # so that it is undone
        del sys.modules[f"ssa_fast.backends.{name}"]
        monkeypatch.setattr(room, name, importlib.import_module(f"ssa_fast.backends.{name}"))
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
