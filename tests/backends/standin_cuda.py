"""A stand-in for CUDA's runtime. IT IS NOT CUDA: "device" memory is host memory, and see `standin_tensorrt`."""

from __future__ import annotations

import ctypes
import enum
import types
from collections import deque
from collections.abc import Callable
from typing import Any


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
        self.copied_out = 0  # bytes
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

        self.copied_out += size if kind == 2 else 0

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
