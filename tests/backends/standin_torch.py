"""A stand-in for `torch.cuda`. IT IS NOT CUDA: kernels are the processor's, "device" memory is the host's.

It is there to test our side on a machine without a GPU, and holds to what CUDA lets happen, where we could be wrong:

- What is put into a side stream does not run until something waits for it: who forgets to wait reads what was there
  before. The main stream runs at once, as torch's operators on a processor do.
- A copy in a side stream may read only what that stream has waited for, and pinned memory may be filled anew only when
  the host has waited for the last copy from it.
- A capture computes nothing: its outputs are NaN until the first replay. A replay runs the recorded operators again, on
  the same memory: it sees what was copied into the input, and overwrites the output.
- A capture that was not warmed up in its stream is an error, and so is the use of a graph after `reset`.

It says nothing about speed, nor about the arithmetic of CUDA's kernels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ssa_fast.backends import torch_copies, torch_graphs
from ssa_fast.backends.pytorch import PytorchBackend

LEFT_BYTES = 500_000_000  # of the "device"
GRAPH_BYTES = 1_000_000  # that a capture takes of the "device"


class Stream:
    def __init__(self, library: Cuda, is_main: bool = False) -> None:
        self.library, self.is_main = library, is_main
        self.waiting: deque[Callable[[], None]] = deque()
        self.ticks = 0  # pieces of work that were put in
        self.seen: dict[Stream, int] = {}  # ticks of other streams that it has waited for
        self.host_seen = 0  # ticks that the host has waited for
        self.last_kernel = 0  # its tick
        self.is_warm = False
        library.streams.append(self)

    def put(self, work: Callable[[], None]) -> None:
        self.ticks += 1
        if self.is_main:
            work()
        else:
            self.waiting.append(work)

    def wait_event(self, event: Event) -> None:
        assert event.stream is not None, "an event that was never recorded"
        self.seen[event.stream] = max(self.seen.get(event.stream, 0), event.tick)
        self.put(event.come_to)

    def wait_stream(self, other: Stream) -> None:
        event = Event(self.library)
        event.record(other)
        self.wait_event(event)

    def drain(self) -> None:
        while self.waiting:
            self.waiting.popleft()()


class Event:
    def __init__(self, library: Cuda) -> None:
        self.stream: Stream | None = None
        self.tick, self.is_reached = 0, False

    def record(self, stream: Stream) -> None:
        self.stream, self.tick, self.is_reached = stream, stream.ticks, False
        stream.put(self._reach)

    def _reach(self) -> None:
        self.is_reached = True

    def come_to(self) -> None:
        while not self.is_reached:
            assert self.stream is not None
            self.stream.waiting.popleft()()

    def synchronize(self) -> None:
        self.come_to()
        assert self.stream is not None
        self.stream.host_seen = max(self.stream.host_seen, self.tick)


class Recorder(TorchDispatchMode):
    """Keeps every operator with what it was given and gave."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operator(*args, **(kwargs or {}))
        self.calls.append((operator, args, kwargs or {}, made))
        return made


class CUDAGraph:
    def __init__(self, library: Cuda) -> None:
        self.library, self.recorder, self.is_open = library, Recorder(), True

    def replay(self) -> None:
        assert self.is_open, "a graph that was given back"
        self.library.calls.append("replay")
        for operator, args, kwargs, made in self.recorder.calls:
            again = operator(*args, **kwargs)
            for mine, new in zip(_tensors(made), _tensors(again), strict=True):
                if mine.data_ptr() != new.data_ptr():  # else it is a view, or was written in place
                    mine.copy_(new)

    def forget_answers(self) -> None:
        for _, args, kwargs, made in self.recorder.calls:
            theirs = {one.untyped_storage().data_ptr() for one in _tensors([args, kwargs])}
            for one in _tensors(made):
                if one.is_floating_point() and one.untyped_storage().data_ptr() not in theirs:
                    one.fill_(float("nan"))

    def reset(self) -> None:
        self.is_open = False
        self.library.reserved -= GRAPH_BYTES


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]


class Cuda:
    """`torch.cuda`, as far as we use it."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.main = Stream(self, is_main=True)
        self.present = self.main
        self.calls: list[str] = []
        self.reserved = 0
        self.left_graphs = 100  # that the memory does for
        self.pinned: dict[int, Tensor] = {}  # by address
        self.copied_from: dict[int, int] = {}  # address of pinned memory -> tick of the last copy from it

    def kernel(self) -> None:
        """To be called where the main stream computes what is copied out."""
        self.main.put(lambda: None)
        self.main.last_kernel = self.main.ticks

    def pin(self, values: int, dtype: torch.dtype) -> Tensor:
        buffer = torch.empty(values, dtype=dtype)
        self.pinned[buffer.data_ptr()] = buffer
        self.calls.append("pin")
        return buffer

    def copy(self, target: Tensor, source: Tensor) -> None:
        storages = {one.untyped_storage().data_ptr() for one in self.pinned.values()}
        is_in, is_out = (one.untyped_storage().data_ptr() in storages for one in (source, target))
        assert is_in != is_out, "a copy that is not between pinned memory and the device"
        if is_out:
            assert self.present.seen.get(self.main, 0) >= self.main.last_kernel, "copied out before it was computed"
        self.calls.append("in" if is_in else "out")
        self.present.put(lambda: target.copy_(source))
        if is_in:
            last = self.copied_from.get(source.data_ptr(), 0)
            assert self.present.host_seen >= last, "pinned memory was filled anew while it was copied from"
            self.copied_from[source.data_ptr()] = self.present.ticks

    def Stream(self, device: torch.device) -> Stream:
        return Stream(self)

    def Event(self) -> Event:
        return Event(self)

    def CUDAGraph(self) -> CUDAGraph:
        return CUDAGraph(self)

    def current_stream(self, device: torch.device) -> Stream:
        return self.present

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.present = self.present, stream
        try:
            with Recorder() as recorder:
                yield
            stream.is_warm = stream.is_warm or len(recorder.calls) > 0
        finally:
            self.present = before

    @contextmanager
    def graph(self, graph: CUDAGraph, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        assert stream.is_warm, "not warmed up in the stream of the capture"
        assert not stream.waiting, "the warm-up was not waited for"
        assert not torch.is_autocast_cache_enabled(), "cast weights would go when autocast ends"
        if self.left_graphs == 0:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.\nmore")
            finally:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        self.left_graphs -= 1
        self.calls.append("capture")
        with graph.recorder:
            yield
        graph.forget_answers()
        self.reserved += GRAPH_BYTES

    def synchronize(self, device: torch.device) -> None:
        self.calls.append("synchronize")
        for stream in self.streams:
            stream.drain()
            stream.host_seen = stream.ticks

    def empty_cache(self) -> None:
        self.calls.append("empty_cache")

    def memory_reserved(self, device: torch.device) -> int:
        return self.reserved


def install(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    """Put the stand-in where our modules look for `torch.cuda`, until the test ends."""
    library = Cuda()
    monkeypatch.setattr(torch_copies, "cuda", library)
    monkeypatch.setattr(torch_copies, "_pinned", library.pin)
    monkeypatch.setattr(torch_copies, "_copy", library.copy)
    monkeypatch.setattr(torch_graphs, "cuda", library)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (LEFT_BYTES, 2 * LEFT_BYTES))
    monkeypatch.setattr(torch.cuda, "memory_reserved", library.memory_reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", library.memory_reserved)
    monkeypatch.setattr(torch.cuda, "empty_cache", library.empty_cache)
    return library


def as_on_a_gpu(backend: PytorchBackend, *, has_graph: bool = False) -> PytorchBackend:
    """A backend of the processor that goes the ways of a GPU, after `install`."""
    device = torch.device("cpu")
    backend._copies = torch_copies.Copies(device)
    backend._graphs = torch_graphs.Graphs(backend._network, device) if has_graph else None
    return backend
