"""The `trt` backend: an engine that TensorRT has built for this very GPU, run without torch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import tensorrt

from ssa_fast.backends import cuda
from ssa_fast.backends.base import (
    Choice,
    Device,
    Footprint,
    Precision,
    check_logit_mean,
    check_windows,
    engine_failure,
    labels_of_batch,
)
from ssa_fast.backends.manifest import Manifest, engine_bytes
from ssa_fast.backends.tensorrt_errors import explained
from ssa_fast.backends.tensorrt_library import logged, version_of
from ssa_fast.backends.tensorrt_slot import OUTPUTS, Slot
from ssa_fast.errors import BackendError, EngineError, ShapeError
from ssa_fast.model.argmax import LABELS, LOGIT_MEAN, LOGITS
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
            self._run = self._kept(cuda.Stream())
            self._copy = self._kept(cuda.Stream())
            counts = len(self.spec.modalities), len(self.spec.labels)
            self._slots = [self._kept(Slot(*counts, self._largest, self._outputs)) for _ in range(_SLOTS)]
        except BaseException:
            self._open.close()
            raise
        self._has_graph = manifest.built_with.get(GRAPH) == "yes"

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`; also raises ShapeError for windows that the engine was not built for."""
        result = np.empty((len(windows), len(self.spec.labels), *windows.shape[2:]), dtype=np.float32)
        self._fill(windows, {LOGITS: result})
        return result

    def labels(self, windows: FloatArray) -> LabelArray:
        """See `Backend.labels`: where argmax is in the engine, the labels alone cross to the host."""
        if LABELS not in self._outputs:
            return labels_of_batch(self.logits(windows))
        result = np.empty((len(windows), *windows.shape[2:]), dtype=np.uint8)
        means = np.zeros((len(windows), 1), dtype=np.float32)
        self._fill(windows, {LABELS: result, LOGIT_MEAN: means})
        check_logit_mean(float(means.sum()))
        return result

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

    def _fill(self, windows: FloatArray, wanted: Mapping[str, npt.NDArray[Any]]) -> None:
        """Run a batch window by window, and put the outputs that are wanted into the arrays, a window a row."""
        check_windows(windows, self.spec)
        self._check_edges(windows.shape[2:])
        count = len(windows)
        rows = [{name: array[place] for name, array in wanted.items()} for place in range(count)]
        try:
            for place in range(count):
                slot = self._slots[place % _SLOTS]
                if place >= _SLOTS:
                    slot.take_into(rows[place - _SLOTS])
                self._start(slot, windows[place], rows[place])
            for place in range(max(0, count - _SLOTS), count):
                self._slots[place % _SLOTS].take_into(rows[place])
        except BackendError as error:
            raise engine_failure(self.device, windows, error) from error

    def _start(self, slot: Slot, window: FloatArray, wanted: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put one window (C, X, Y, Z) on its way. The slot's last one has been taken."""
        shape = (1, *window.shape)
        np.copyto(slot.input.host(shape)[0], window)
        cuda.copy_in(slot.input, window.size, self._copy)
        slot.is_in.record(self._copy)
        self._run.wait_for(slot.is_in)
        if self._has_graph:
            slot.run(shape, self._run, lambda: self._enqueue(slot, shape))
        else:
            self._enqueue(slot, shape)
        for name, array in wanted.items():
            cuda.copy_out(slot.outputs[name], array.size, self._run)
        slot.is_out.record(self._run)

    def _enqueue(self, slot: Slot, shape: tuple[int, ...]) -> None:
        self._log.clear()
        has_run = (
            self._context.set_input_shape("windows", shape)
            and self._context.set_tensor_address("windows", slot.input.device)
            and all(self._context.set_tensor_address(name, buffer.device) for name, buffer in slot.outputs.items())
            and self._context.execute_async_v3(int(self._run.handle))
        )
        if not has_run:
            raise BackendError((self._log.errors or ["TensorRT did not run and did not say why"])[0])

    def _shapes(self) -> tuple[_Shape, _Shape]:
        """The smallest and largest edges that the engine takes, after its names, types and channels were checked."""
        names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
        outputs = tuple(name for name in OUTPUTS if name in names)
        if sorted(names) != sorted(["windows", *outputs]) or outputs not in ((LOGITS,), tuple(OUTPUTS)):
            raise EngineError(
                f"{self._where}: the engine has {', '.join(names)}, wanted windows and logits, or {', '.join(OUTPUTS)}"
            )
        modes = {"windows": tensorrt.TensorIOMode.INPUT, **dict.fromkeys(outputs, tensorrt.TensorIOMode.OUTPUT)}
        for name, mode in modes.items():
            kind, wanted = self._engine.get_tensor_dtype(name), "uint8" if name == LABELS else "float32"
            if self._engine.get_tensor_mode(name) != mode or kind != getattr(tensorrt, wanted):
                raise EngineError(f"{self._where}: the engine's {name} is {kind}, wanted {wanted}, {mode}")
        self._outputs = outputs
        smallest, _, largest = (tuple(shape) for shape in self._engine.get_tensor_profile_shape("windows", 0))
        logits = tuple(self._engine.get_tensor_shape(LOGITS))
        if largest[1] != len(self.spec.modalities) or logits[1] != len(self.spec.labels) or smallest[0] != 1:
            raise EngineError(
                f"{self._where}: the engine takes {largest} and gives {logits}, which is not its network's "
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
