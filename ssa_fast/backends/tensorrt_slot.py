"""What one window needs on its way through a TensorRT engine: memory, marks in the streams, graphs."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ssa_fast.backends import cuda
from ssa_fast.model.argmax import LABELS, LOGIT_MEAN, LOGITS

__all__ = ["OUTPUTS", "Slot", "output_shape"]

OUTPUTS: Mapping[str, npt.DTypeLike] = MappingProxyType({LOGITS: np.float32, LABELS: np.uint8, LOGIT_MEAN: np.float32})
"""What an engine may give, and its type."""

_GRAPHS = 4  # kept at once: a window's shape, or those of a few brains; each holds some MB of the device's memory


class Slot:
    """Memory for one window in and its outputs, on the GPU and on the host, and the graphs that use that memory."""

    def __init__(self, modalities: int, labels: int, edges: tuple[int, int, int], outputs: tuple[str, ...]) -> None:
        """For windows of up to `edges`. Raises BackendError if the memory is short."""
        with ExitStack() as made:
            self.input = cuda.Buffer(modalities * math.prod(edges))
            made.callback(self.input.close)
            self.outputs: dict[str, cuda.Buffer] = {}
            for name in outputs:
                values = math.prod(output_shape(name, labels, edges))
                self.outputs[name] = cuda.Buffer(values, OUTPUTS[name])
                made.callback(self.outputs[name].close)
            self.is_in = cuda.Event()
            made.callback(self.is_in.close)
            self.is_out = cuda.Event()
            made.callback(self.is_out.close)
            self._parts = made.pop_all()
        self._graphs: OrderedDict[tuple[int, ...], cuda.Graph | None] = OrderedDict()  # a shape; None: it came once

    def run(self, shape: tuple[int, ...], stream: cuda.Stream, enqueue: Callable[[], None]) -> None:
        """Put the engine into the stream: by the graph of this shape, where there is one.

        A graph is captured when a shape comes for the second time, for most brains' shapes come once; right behind a
        plain run, which TensorRT wants between a new shape and its capture. The last shapes' graphs are kept.
        """
        graph = self._graphs.get(shape)
        if graph is not None:
            graph.launch(stream)
        else:
            enqueue()
            if shape in self._graphs:
                stream.begin_capture()
                enqueue()
                self._graphs[shape] = stream.end_capture()
            else:
                self._graphs[shape] = None
        self._graphs.move_to_end(shape)
        if len(self._graphs) > _GRAPHS:
            _close(self._graphs.popitem(last=False)[1])

    def take_into(self, wanted: Mapping[str, npt.NDArray[Any]]) -> None:
        """Wait for the window's outputs and copy them into the arrays."""
        self.is_out.synchronize()
        for name, array in wanted.items():
            np.copyto(array, self.outputs[name].host(array.shape))

    def close(self) -> None:
        """Give everything back."""
        while self._graphs:
            _close(self._graphs.popitem()[1])
        self._parts.close()


def output_shape(name: str, labels: int, edges: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an output for one window: (K, X, Y, Z), (X, Y, Z), or (1,) for the mean."""
    return {LOGITS: (labels, *edges), LABELS: edges, LOGIT_MEAN: (1,)}[name]


def _close(graph: cuda.Graph | None) -> None:
    if graph is not None:
        graph.close()
