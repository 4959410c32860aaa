"""A network run by CUDA graphs: its kernels recorded once a shape, then launched by one call. Never run on a GPU yet.

What torch's notes on CUDA graphs ask for is held to: warmed up on a side stream before the capture, inputs and outputs
at fixed addresses, no cache of autocast's that outlives the capture (the caller turns it off).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, cuda

__all__ = ["Graphs"]

_MOST = 4  # kept at once; each holds all that its network's run has in memory
_WARM_UPS = 2  # the first chooses kernels, the second finds them chosen


@dataclass(frozen=True, kw_only=True)
class _Captured:
    """One shape's graph, and the tensors that it reads and writes."""

    graph: cuda.CUDAGraph
    given: Tensor
    logits: Tensor
    nbytes: int


class Graphs:
    """A network on a GPU, one graph a shape; the last few are kept."""

    def __init__(self, network: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._network, self._device = network, device
        self._side = cuda.Stream(device)
        self._kept: OrderedDict[tuple[int, ...], _Captured] = OrderedDict()  # the last used is the last

    @property
    def kept_bytes(self) -> int:
        """Of the device's memory, by all graphs."""
        return sum(one.nbytes for one in self._kept.values())

    def run(self, batch: Tensor) -> Tensor:
        """The network's logits (N, K, X, Y, Z) of a batch on the device, in memory of their own."""
        shape = tuple(batch.shape)
        if shape not in self._kept:
            while len(self._kept) >= _MOST:
                self._kept.popitem(last=False)[1].graph.reset()
            self._kept[shape] = self._captured(batch)
        self._kept.move_to_end(shape)
        one = self._kept[shape]
        one.given.copy_(batch)
        one.graph.replay()
        return one.logits.clone()  # the next replay overwrites them

    def let_go(self) -> None:
        """Give all graphs' memory back. Nothing of them may still be running."""
        while self._kept:
            self._kept.popitem()[1].graph.reset()
        cuda.empty_cache()

    def _captured(self, batch: Tensor) -> _Captured:
        given = batch.clone()
        here = cuda.current_stream(self._device)
        cuda.empty_cache()  # of what other streams had: the side stream finds nothing of it
        self._side.wait_stream(here)
        with cuda.stream(self._side):
            for _ in range(_WARM_UPS):
                self._network(given)
        here.wait_stream(self._side)
        cuda.synchronize(self._device)
        cuda.empty_cache()  # or what the warm-up left would lie beside the graph's own memory
        before = cuda.memory_reserved(self._device)
        graph = cuda.CUDAGraph()
        # this thread's calls alone: others read cases meanwhile
        with cuda.graph(graph, stream=self._side, capture_error_mode="thread_local"):
            logits = self._network(given)
        nbytes = cuda.memory_reserved(self._device) - before + given.nbytes
        return _Captured(graph=graph, given=given, logits=logits, nbytes=nbytes)
