"""ONNX Runtime on a GPU with inputs and outputs at fixed places of its memory, and by CUDA graphs if that is asked for.

Never run on a GPU yet. What ONNX Runtime's documentation asks of graphs is held to: addresses and shapes stay as they
were when a graph was captured, each has a number of its own above 0, and memory that it uses is not given back while
it may be replayed. A graph cannot be let go of alone, so its session goes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ssa_fast.backends.ort_cuda import RUN_ENTRIES
from ssa_fast.volume.geometry import FloatArray

__all__ = ["Bound", "Outputs"]

Outputs: TypeAlias = Mapping[str, tuple[tuple[int, ...], npt.DTypeLike]]
"""Names of outputs, each with its shape and type."""

_MOST = 4  # kept at once; with a graph each holds all that its network's run has in memory


@dataclass(frozen=True, kw_only=True)
class _Set:
    """What one shape of windows needs to be run."""

    binding: Any
    options: Any
    given: Any
    made: tuple[Any, ...] = field(repr=False)


class Bound:
    """Sessions of one bundle on a GPU, one at a time, and a set of buffers for each shape that it ran."""

    def __init__(
        self, library: ModuleType, opened: Callable[[], Any], free_bytes: Callable[[], int], *, has_graph: bool
    ) -> None:
        """`opened` makes a session; with `has_graph` it was asked for `enable_cuda_graph`."""
        self._library, self._opened, self._free_bytes, self._has_graph = library, opened, free_bytes, has_graph
        self._session: Any = opened()
        self._sets: dict[tuple[object, ...], _Set] = {}
        self.kept_bytes = 0  # of the GPU's memory, by buffers and graphs

    def run(self, windows: FloatArray, outputs: Outputs) -> list[npt.NDArray[Any]]:
        """The outputs for `windows` (N, C, X, Y, Z), on the host."""
        key = (windows.shape, *outputs)
        if key not in self._sets and len(self._sets) == _MOST:
            self.let_go()
        is_new = key not in self._sets
        try:
            self._session = self._session or self._opened()
            free = self._free_bytes()
            if is_new:
                self._sets[key] = self._set(windows, outputs)
            one = self._sets[key]
            one.given.update_inplace(windows)
            one.binding.synchronize_inputs()
            self._session.run_with_iobinding(one.binding, one.options)  # a graph is captured within its first run
            one.binding.synchronize_outputs()
        except BaseException:
            self.let_go()  # of a graph that may be half captured
            raise
        if is_new:
            self.kept_bytes += max(0, free - self._free_bytes())
        return [made.numpy() for made in one.made]

    def let_go(self) -> None:
        """Give the buffers back, and with them the session, where it has graphs; the next run opens another."""
        self._sets.clear()
        if self._has_graph:
            self._session = None
        self.kept_bytes = 0

    def close(self) -> None:
        """Give everything back."""
        self._sets.clear()
        self._session = None

    def _set(self, windows: FloatArray, outputs: Outputs) -> _Set:
        value, binding, options = self._library.OrtValue, self._session.io_binding(), self._library.RunOptions()
        options.only_execute_path_to_fetches = True
        entries = {"gpu_graph_id": str(len(self._sets) + 1)} if self._has_graph else RUN_ENTRIES
        for name, entry in entries.items():
            options.add_run_config_entry(name, entry)
        given = value.ortvalue_from_numpy(windows, "cuda", 0)
        binding.bind_ortvalue_input("windows", given)
        made = tuple(
            value.ortvalue_from_shape_and_type(list(shape), np.dtype(kind).type, "cuda", 0)
            for shape, kind in outputs.values()
        )
        for name, one in zip(outputs, made, strict=True):
            binding.bind_ortvalue_output(name, one)
        return _Set(binding=binding, options=options, given=given, made=made)
