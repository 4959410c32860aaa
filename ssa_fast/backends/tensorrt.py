"""The `trt` backend: an engine that TensorRT has built for this very GPU, run without torch."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import tensorrt

from ssa_fast.backends import cuda
from ssa_fast.backends.base import Choice, Device, Footprint, Precision, check_windows, engine_failure, labels_of_batch
from ssa_fast.backends.manifest import Manifest, engine_bytes
from ssa_fast.backends.tensorrt_errors import explained
from ssa_fast.backends.tensorrt_library import logged, version_of
from ssa_fast.errors import BackendError, EngineError, ShapeError
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["GRAPH", "PRECISIONS", "TensorrtBackend", "machine", "open_bundle", "open_engine"]

PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
GRAPH = "CUDA graph"
"""Key of `Manifest.built_with`: "yes" where running by a graph was measured to pay."""
_SLOTS = 2  # while the GPU runs one window, the next is copied


_Shape = tuple[int, int, int]


class TensorrtBackend:
    """One engine, its memory taken when it is opened: activations, and two windows in and out.

    Engines take one window at a time: a batch goes through them window by window, the copy of the next beside the run
    of the present one.
    """

    def __init__(self, manifest: Manifest, content: bytes, where: Path) -> None:
        """Raises EngineError if TensorRT does not take the engine, or it is not one for this network."""
        self.spec = manifest.spec
        gpu = cuda.gpu()
        self.device = Device(
            engine=f"TensorRT {version_of(tensorrt)}",
            name=gpu.name,
            precision=_precision(manifest.precision, where),
        )
        self._manifest, self._where = manifest, where
        self._log = logged(tensorrt).log
        self._engine = _deserialized(content, where)
        self.planned_bytes = int(self._engine.device_memory_size_v2)
        self._smallest, self._largest = self._shapes()
        self.footprint = Footprint(  # taken when it was opened
            held_bytes=self.planned_bytes, share=0.0, is_host=False, shapes=(self._smallest, self._largest)
        )
        self._open = ExitStack()
        try:
            self._context = self._made_context()
            values = math.prod(self._largest)
            self._run = self._kept(cuda.Stream())
            self._copy = self._kept(cuda.Stream())
            inputs, outputs = len(self.spec.modalities) * values, len(self.spec.labels) * values
            self._slots = [self._kept(_Slot(inputs, outputs)) for _ in range(_SLOTS)]
        except BaseException:
            self._open.close()
            raise
        self._has_graph = manifest.built_with.get(GRAPH) == "yes" and self._smallest == self._largest

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`; also raises ShapeError for windows that the engine was not built for."""
        check_windows(windows, self.spec)
        self._check_edges(windows.shape[2:])
        count, shape = windows.shape[0], windows.shape[2:]
        result = np.empty((count, len(self.spec.labels), *shape), dtype=np.float32)
        try:
            for place in range(count):
                slot = self._slots[place % _SLOTS]
                if place >= _SLOTS:
                    slot.take_into(result[place - _SLOTS])
                self._start(slot, windows[place])
            for place in range(max(0, count - _SLOTS), count):
                self._slots[place % _SLOTS].take_into(result[place])
        except BackendError as error:
            raise engine_failure(self.device, windows, error) from error
        return result

    def labels(self, windows: FloatArray) -> LabelArray:
        """See `Backend.labels`."""
        return labels_of_batch(self.logits(windows))

    def free_bytes(self) -> int | None:
        """None: what an engine needs was taken when it was opened."""
        return None

    def let_go(self) -> None:
        """See `Backend.let_go`: nothing is kept beyond what was taken when the engine was opened."""

    def close(self) -> None:
        """See `Backend.close`."""
        self._run.synchronize()
        self._open.close()
        del self._context, self._engine

    def _start(self, slot: _Slot, window: FloatArray) -> None:
        """Put one window (C, X, Y, Z) on its way. The slot's last one has been taken."""
        shape = (1, *window.shape)
        np.copyto(slot.input.host(shape)[0], window)
        cuda.copy_in(slot.input, window.size, self._copy)
        slot.is_in.record(self._copy)
        self._run.wait_for(slot.is_in)
        if slot.graph is not None:
            slot.graph.launch(self._run)
        else:
            self._enqueue(slot, shape)
            if self._has_graph:  # TensorRT wants one run before it is captured
                self._run.begin_capture()
                self._enqueue(slot, shape)
                slot.graph = self._kept(self._run.end_capture())
        values = math.prod(window.shape[1:]) * len(self.spec.labels)
        cuda.copy_out(slot.output, values, self._run)
        slot.is_out.record(self._run)

    def _enqueue(self, slot: _Slot, shape: tuple[int, ...]) -> None:
        self._log.clear()
        has_run = (
            self._context.set_input_shape("windows", shape)
            and self._context.set_tensor_address("windows", slot.input.device)
            and self._context.set_tensor_address("logits", slot.output.device)
            and self._context.execute_async_v3(int(self._run.handle))
        )
        if not has_run:
            raise BackendError((self._log.errors or ["TensorRT did not run and did not say why"])[0])

    def _shapes(self) -> tuple[_Shape, _Shape]:
        """The smallest and largest edges that the engine takes, after its names, types and channels were checked."""
        modes = {"windows": tensorrt.TensorIOMode.INPUT, "logits": tensorrt.TensorIOMode.OUTPUT}
        names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
        if sorted(names) != ["logits", "windows"]:
            raise EngineError(f"{self._where}: the engine has {', '.join(names)}, wanted windows and logits")
        for name, mode in modes.items():
            kind = self._engine.get_tensor_dtype(name)
            if self._engine.get_tensor_mode(name) != mode or kind != tensorrt.float32:
                raise EngineError(f"{self._where}: the engine's {name} is {kind}, wanted float32, {mode}")
        smallest, _, largest = (tuple(shape) for shape in self._engine.get_tensor_profile_shape("windows", 0))
        outputs = tuple(self._engine.get_tensor_shape("logits"))
        if largest[1] != len(self.spec.modalities) or outputs[1] != len(self.spec.labels) or smallest[0] != 1:
            raise EngineError(
                f"{self._where}: the engine takes {largest} and gives {outputs}, which is not its network's "
                f"{len(self.spec.modalities)} modalities and {len(self.spec.labels)} labels: {self._manifest.command}"
            )
        return _edges(smallest), _edges(largest)

    def _made_context(self) -> Any:
        """The engine's execution context, for which TensorRT takes the memory of the activations."""
        self._log.clear()
        context = self._engine.create_execution_context()
        if context is None:
            free, total = cuda.memory_bytes()
            needs = f"{self.planned_bytes / 1e9:.2f} GB for activations, {free / 1e9:.2f} of {total / 1e9:.2f} are free"
            raise explained(f"{self._where}: needs {needs}", self._log.errors)
        return context

    def _check_edges(self, edges: tuple[int, ...]) -> None:
        triples = zip(self._smallest, edges, self._largest, strict=True)
        if all(least <= edge <= most for least, edge, most in triples):
            return
        seen, least, most = (" x ".join(map(str, shape)) for shape in (edges, self._smallest, self._largest))
        takes = least if least == most else f"{least} to {most}"
        raise ShapeError(
            f"windows are {seen}, wanted {takes}, for which the engine was built: take the bundle itself, or an engine "
            "with other boxes in its profile"
        )

    def _kept(self, part: Any) -> Any:
        self._open.callback(part.close)
        return part


class _Slot:
    """What one window needs on its way through."""

    def __init__(self, inputs: int, outputs: int) -> None:
        with ExitStack() as made:
            self.input = cuda.Buffer(inputs)
            made.callback(self.input.close)
            self.output = cuda.Buffer(outputs)
            made.callback(self.output.close)
            self.is_in = cuda.Event()
            made.callback(self.is_in.close)
            self.is_out = cuda.Event()
            made.callback(self.is_out.close)
            self._parts = made.pop_all()
        self.graph: cuda.Graph | None = None

    def take_into(self, logits: FloatArray) -> None:
        """Wait for the window's logits (K, X, Y, Z) and copy them."""
        self.is_out.synchronize()
        np.copyto(logits, self.output.host(logits.shape))

    def close(self) -> None:
        self._parts.close()


def machine() -> dict[str, str]:
    """What an engine depends on, here: it runs only where all of it is the same as where it was built.

    Raises BackendUnavailable without a driver, or with one that is too old.
    """
    gpu = cuda.gpu()
    return {
        "GPU": gpu.name,
        "compute capability": gpu.capability,
        "multiprocessors": str(gpu.multiprocessors),
        "TensorRT": version_of(tensorrt),
    }


def _edges(shape: tuple[int, ...]) -> _Shape:
    x, y, z = shape[2:]
    return int(x), int(y), int(z)


def open_bundle(bundle: Bundle, _precision: Choice) -> NoReturn:
    """Nothing: TensorRT runs what was built for one GPU. Raises EngineError, with the command that builds it."""
    raise EngineError(
        f"{bundle.path}: backend 'trt' runs engines, not bundles: build one on this machine, 'ssa-fast export "
        f"{bundle.path} --backend trt --profile PROFILE --cases CASES --out engines', and give its folder to --bundle"
    )


def open_engine(folder: Path, manifest: Manifest) -> TensorrtBackend:
    """The backend for an engine.

    Raises EngineError if it is damaged, of another GPU or TensorRT, or refused by TensorRT; BackendUnavailable without
    a driver that serves it.
    """
    manifest.check_machine(machine(), folder)
    return TensorrtBackend(manifest, engine_bytes(folder, manifest), folder)


def _precision(name: str, where: Path) -> Precision:
    for precision in PRECISIONS:
        if name == precision:
            return precision
    raise EngineError(f"{where}: says that it computes in {name}, wanted {', '.join(PRECISIONS)}: build it again")


def _deserialized(content: bytes, where: Path) -> Any:
    """The engine, ready to run. Raises EngineError or BackendUnavailable with TensorRT's own words."""
    ours = logged(tensorrt)
    ours.log.clear()
    try:
        engine = tensorrt.Runtime(ours.logger).deserialize_cuda_engine(content)
    except TypeError as error:  # pybind11: the library's factory gave nothing
        raise explained(str(where), [*ours.log.errors, str(error)]) from error
    if engine is None:
        raise explained(str(where), ours.log.errors)
    return engine
