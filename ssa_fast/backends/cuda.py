"""The few calls to CUDA that an engine needs, each checked: memory, streams, events, graphs. No torch."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import runtime

from ssa_fast.backends.tensorrt_errors import explained, failure_of
from ssa_fast.errors import BackendError

__all__ = ["Buffer", "Event", "Gpu", "Graph", "Stream", "copy_in", "copy_out", "gpu", "memory_bytes", "versions"]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The GPU that this process computes on: CUDA's first."""

    name: str
    capability: str  # such as "7.5"
    multiprocessors: int


def gpu() -> Gpu:
    """The GPU. Raises BackendUnavailable without a driver, or with one that is too old."""
    found = _checked("cudaGetDeviceProperties", runtime.cudaGetDeviceProperties(0))
    name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
    return Gpu(name=name, capability=f"{found.major}.{found.minor}", multiprocessors=found.multiProcessorCount)


def versions() -> dict[str, str]:
    """CUDA's version, of the driver and of the runtime, such as 13.0."""
    known = {
        "CUDA of the driver": _checked("cudaDriverGetVersion", runtime.cudaDriverGetVersion()),
        "CUDA runtime": _checked("cudaRuntimeGetVersion", runtime.cudaRuntimeGetVersion()),
    }
    return {name: f"{number // 1000}.{number % 1000 // 10}" for name, number in known.items()}


def memory_bytes() -> tuple[int, int]:
    """Free and total memory of the GPU."""
    free, total = _checked("cudaMemGetInfo", runtime.cudaMemGetInfo())
    return int(free), int(total)


class Buffer:
    """Memory for values twice over: on the GPU, and pinned on the host, where copies run beside the GPU."""

    def __init__(self, values: int, kind: npt.DTypeLike = np.float32) -> None:
        self.values = values
        self.kind = np.dtype(kind)
        size = self.kind.itemsize * values
        self.device = int(_checked("cudaMalloc", runtime.cudaMalloc(size), size))
        try:
            self._host = int(_checked("cudaMallocHost", runtime.cudaMallocHost(size), size))
        except BackendError:
            _checked("cudaFree", runtime.cudaFree(self.device))
            raise
        self.pinned_address = self._host

    def host(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """The first values of the host's half as an array of `shape`."""
        values = int(np.prod(shape))
        assert values <= self.values, (shape, self.values)
        memory = (ctypes.c_ubyte * (values * self.kind.itemsize)).from_address(self._host)
        array: npt.NDArray[Any] = np.ctypeslib.as_array(memory).view(self.kind).reshape(shape)
        return array

    def close(self) -> None:
        """Give both halves back. Arrays of `host` must not be touched again."""
        _checked("cudaFreeHost", runtime.cudaFreeHost(self._host))
        _checked("cudaFree", runtime.cudaFree(self.device))


class Stream:
    """A queue of work on the GPU: what is put in runs in order."""

    def __init__(self) -> None:
        flags = runtime.cudaStreamNonBlocking
        self.handle = _checked("cudaStreamCreateWithFlags", runtime.cudaStreamCreateWithFlags(flags))

    def wait_for(self, event: Event) -> None:
        """What is put in from now on waits until the event has come to pass."""
        _checked("cudaStreamWaitEvent", runtime.cudaStreamWaitEvent(self.handle, event.handle, 0))

    def synchronize(self) -> None:
        """Wait until all that was put in is done."""
        _checked("cudaStreamSynchronize", runtime.cudaStreamSynchronize(self.handle))

    def begin_capture(self) -> None:
        """What is put in from now on is not run but becomes a graph."""
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _checked("cudaStreamBeginCapture", runtime.cudaStreamBeginCapture(self.handle, mode))

    def end_capture(self) -> Graph:
        """The graph of what was put in since `begin_capture`."""
        return Graph(_checked("cudaStreamEndCapture", runtime.cudaStreamEndCapture(self.handle)))

    def close(self) -> None:
        """Let go of it, done or not."""
        _checked("cudaStreamDestroy", runtime.cudaStreamDestroy(self.handle))


class Event:
    """A mark in a stream that others can wait for."""

    def __init__(self) -> None:
        flags = runtime.cudaEventDisableTiming
        self.handle = _checked("cudaEventCreateWithFlags", runtime.cudaEventCreateWithFlags(flags))

    def record(self, stream: Stream) -> None:
        """Put the mark behind what the stream holds now."""
        _checked("cudaEventRecord", runtime.cudaEventRecord(self.handle, stream.handle))

    def synchronize(self) -> None:
        """Wait until the stream has come to the mark."""
        _checked("cudaEventSynchronize", runtime.cudaEventSynchronize(self.handle))

    def close(self) -> None:
        """Let go of it."""
        _checked("cudaEventDestroy", runtime.cudaEventDestroy(self.handle))


class Graph:
    """Work that was captured from a stream, to be run again by one call."""

    def __init__(self, captured: Any) -> None:
        self._captured = captured
        self._ready = _checked("cudaGraphInstantiate", runtime.cudaGraphInstantiate(captured, 0))

    def launch(self, stream: Stream) -> None:
        """Put the whole work into a stream."""
        _checked("cudaGraphLaunch", runtime.cudaGraphLaunch(self._ready, stream.handle))

    def close(self) -> None:
        """Let go of it."""
        _checked("cudaGraphExecDestroy", runtime.cudaGraphExecDestroy(self._ready))
        _checked("cudaGraphDestroy", runtime.cudaGraphDestroy(self._captured))


def copy_in(buffer: Buffer, values: int, stream: Stream) -> None:
    """Put the copy of `values` from host to GPU into the stream."""
    kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
    done = runtime.cudaMemcpyAsync(
        buffer.device, buffer.pinned_address, buffer.kind.itemsize * values, kind, stream.handle
    )
    _checked("cudaMemcpyAsync", done)


def copy_out(buffer: Buffer, values: int, stream: Stream) -> None:
    """Put the copy of `values` from GPU to host into the stream."""
    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    done = runtime.cudaMemcpyAsync(
        buffer.pinned_address, buffer.device, buffer.kind.itemsize * values, kind, stream.handle
    )
    _checked("cudaMemcpyAsync", done)


def _checked(call: str, result: tuple[Any, ...], size: int | None = None) -> Any:
    """What a call gave, without its error code.

    Raises BackendUnavailable for a driver that is missing or too old, BackendError for every other code.
    """
    code, *values = result
    if int(code) != 0:
        _, words = runtime.cudaGetErrorString(code)
        said = f"{code.name}: {words.decode() if isinstance(words, bytes) else words}"
        failure = failure_of(said)
        if failure is not None and failure.is_of_machine:
            raise explained(call, [said])
        of = "" if size is None else f" of {size / 1e6:.0f} MB"
        raise BackendError(f"CUDA's {call}{of} failed: {said}: close other programs on the GPU, and run it again")
    if not values:
        return None
    return values[0] if len(values) == 1 else tuple(values)
