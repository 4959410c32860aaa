"""A stand-in for ONNX Runtime's CUDA provider. IT IS NOT CUDA: every session is computed by the processor's provider.

It is there to test our side on a machine without a GPU: which provider is asked for and with which options, what we do
where the library moves a session or a part of it elsewhere, and that we hold to what it says of memory. "Device" memory
is a number in `standin_cuda`. It says nothing about speed, nor about the arithmetic of CUDA's kernels.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from ssa_fast import hardware
from ssa_fast.backends.ort_cuda import CPU_PROVIDER, CUDA_PROVIDER
from tests.backends.standin_cuda import Cuda

WORKSPACE_BYTES = 2**20  # that a run takes of the "device", and keeps unless it is asked to shrink


class RunOptions(onnxruntime.RunOptions):  # type: ignore[misc]
    """Keeps for the stand-in what is meant for the GPU, of which the processor's provider knows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


class OrtValue:
    """A value "on the GPU": one of the host that only `OrtValue` and bindings can reach."""

    def __init__(self, real: Any, device: str) -> None:
        assert device == "cuda", "a value of the host, which a graph cannot use"
        self.real = real

    @classmethod
    def ortvalue_from_numpy(cls, array: Any, device: str, number: int) -> OrtValue:
        return cls(onnxruntime.OrtValue.ortvalue_from_numpy(array.copy()), device)

    @classmethod
    def ortvalue_from_shape_and_type(cls, shape: Any, kind: Any, device: str, number: int) -> OrtValue:
        return cls(onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind), device)

    def update_inplace(self, array: Any) -> None:
        assert list(array.shape) == self.real.shape(), "another shape than was bound"
        self.real.update_inplace(array)

    def numpy(self) -> Any:
        return self.real.numpy().copy()


class Binding:
    def __init__(self, real: Any) -> None:
        self.real = real
        self.are_inputs_in = False

    def bind_ortvalue_input(self, name: str, value: OrtValue) -> None:
        self.real.bind_ortvalue_input(name, value.real)

    def bind_ortvalue_output(self, name: str, value: OrtValue) -> None:
        self.real.bind_ortvalue_output(name, value.real)

    def synchronize_inputs(self) -> None:
        self.are_inputs_in = True

    def synchronize_outputs(self) -> None:
        self.real.synchronize_outputs()


class Ort(types.ModuleType):
    """The module `onnxruntime` as built for CUDA, and what was asked of it."""

    def __init__(self, cuda: Cuda) -> None:
        super().__init__("onnxruntime")
        self.__version__ = onnxruntime.__version__
        self.cuda = cuda
        self.SessionOptions, self.RunOptions, self.OrtValue = onnxruntime.SessionOptions, RunOptions, OrtValue
        self.runs_on = CUDA_PROVIDER  # the first provider of every session that asks for CUDA
        self.left_behind: frozenset[str] = frozenset()  # operators that the processor gets all the same
        self.is_preloaded = False
        self.providers: list[Any] = []  # that the last session was asked for
        self.InferenceSession = lambda *args, **options: Session(self, *args, **options)

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", CUDA_PROVIDER, CPU_PROVIDER]

    def preload_dlls(self) -> None:
        print("cannot find libcublas")  # noqa: T201 - as the library does
        self.is_preloaded = True


class Session:
    def __init__(self, library: Ort, content: bytes, options: Any, providers: list[Any], enable_fallback: int) -> None:
        assert enable_fallback == 0, "after a failure the library would go on elsewhere"
        self._library, self._has_arena_weights = library, True
        library.providers = providers
        self._real = onnxruntime.InferenceSession(content, options, providers=[CPU_PROVIDER], enable_fallback=0)
        names = [one if isinstance(one, str) else one[0] for one in providers]
        self._runs_on = library.runs_on if CUDA_PROVIDER in names else CPU_PROVIDER
        if self._runs_on == CUDA_PROVIDER:
            assert library.is_preloaded, "CUDA's libraries were not loaded"
            library.cuda.left_bytes -= len(content)
            self._taken = len(content)
            self._has_graphs = dict(providers[0][1]).get("enable_cuda_graph") == "1"
            self._graphs: dict[str, Binding] = {}

    def get_providers(self) -> list[str]:
        return [self._runs_on] if self._runs_on == CPU_PROVIDER else [self._runs_on, CPU_PROVIDER]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        parts = []
        for part in self._real.get_provider_graph_assignment_info():
            nodes = part.get_nodes()
            is_moved = {node.op_type for node in nodes} & self._library.left_behind
            parts.append(
                types.SimpleNamespace(ep_name=CPU_PROVIDER if is_moved else self._runs_on, get_nodes=lambda n=nodes: n)
            )
        return parts

    def run(self, outputs: Any, inputs: Any, options: RunOptions) -> Any:
        if self._runs_on != CUDA_PROVIDER:
            return self._real.run(outputs, inputs, options)
        if self._library.cuda.left_bytes < WORKSPACE_BYTES:
            raise ort_errors.EPFail("[ONNXRuntimeError] : 11 : EP_FAIL : CUDA failure 2: out of memory\nmore")
        given = self._real.run(outputs, inputs, options)
        if options.entries.get("memory.enable_memory_arena_shrinkage") != "gpu:0":
            self._library.cuda.left_bytes -= WORKSPACE_BYTES
        return given

    def io_binding(self) -> Binding:
        return Binding(self._real.io_binding())

    def run_with_iobinding(self, binding: Binding, options: RunOptions) -> None:
        """A graph's number stands for the addresses and shapes that it was captured with, whatever is bound now."""
        assert binding.are_inputs_in
        has_shrunk = options.entries.get("memory.enable_memory_arena_shrinkage") == "gpu:0"
        if self._has_graphs:
            assert not has_shrunk, "a graph would be replayed on memory that was given back"
            number = options.entries["gpu_graph_id"]
            assert int(number) > 0, "0 is the library's own"
            if number not in self._graphs:
                self._take(WORKSPACE_BYTES)
                self._graphs[number] = binding
            binding = self._graphs[number]
        else:
            assert has_shrunk
        self._real.run_with_iobinding(binding.real, options)

    def _take(self, size: int) -> None:
        if self._library.cuda.left_bytes < size:
            raise ort_errors.EPFail("[ONNXRuntimeError] : 11 : EP_FAIL : CUDA failure 2: out of memory\nmore")
        self._library.cuda.left_bytes -= size
        self._taken += size

    def __del__(self) -> None:
        if getattr(self, "_runs_on", CPU_PROVIDER) == CUDA_PROVIDER:
            self._library.cuda.left_bytes += self._taken


def install(monkeypatch: pytest.MonkeyPatch) -> Ort:
    """Put the stand-ins where our modules look for both libraries, and a driver beside them, until the test ends."""
    import ssa_fast.backends as room
    from ssa_fast.backends import onnxruntime as module

    library = Ort(Cuda())
    bindings = types.ModuleType("cuda.bindings")
    bindings.runtime = library.cuda  # type: ignore[attr-defined]
    for name, stand_in in (("cuda", types.ModuleType("cuda")), ("cuda.bindings", bindings)):
        monkeypatch.setitem(sys.modules, name, stand_in)
    # set, so that what the import does to both is undone, then taken away, so that it is done
    monkeypatch.setattr(room, "cuda", None, raising=False)
    monkeypatch.setitem(sys.modules, "ssa_fast.backends.cuda", library)
    delattr(room, "cuda")
    del sys.modules["ssa_fast.backends.cuda"]
    importlib.import_module("ssa_fast.backends.cuda")
    monkeypatch.setattr(module, "onnxruntime", library)
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: True)
    return library
