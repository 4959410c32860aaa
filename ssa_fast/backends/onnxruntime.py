"""The `ort` backend: ONNX Runtime on the CPU, or on the first CUDA GPU."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from ssa_fast import hardware
from ssa_fast.backends import ort_cuda
from ssa_fast.backends.base import (
    Choice,
    Device,
    Footprint,
    buffer_bytes,
    check_logit_mean,
    check_windows,
    engine_failure,
    host_footprint,
    memory_failure,
)
from ssa_fast.backends.measured import Way
from ssa_fast.backends.ort_bound import Bound
from ssa_fast.errors import BackendUnavailable, BundleError
from ssa_fast.model.argmax import LABELS, LOGIT_MEAN, LOGITS, with_labels
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.spec import live_values
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["BOUND", "GRAPH", "PRECISIONS", "OrtBackend", "open_bundle", "ways"]

PRECISIONS = ("float32",)
BOUND, GRAPH = "bound buffers", "CUDA graph"
"""How a GPU may run a bundle: inputs and outputs at fixed places of its memory, and then its kernels by one call."""

_BOUND_S = 5.0  # that a shape must have run before these are tried: each opens a session and chooses its kernels anew
_SHARE = 0.97  # measured with both networks, windows included: up to 0.92 and 0.97; norms work in place
_GPU_SHARE = {"float32": 1.5, "float16": 1.0}  # reckoned: as on a CPU, and what convolutions take to work in
_ENGINE_ERRORS = (  # the library's own classes share no base
    ort_errors.EPFail,  # of a GPU
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class OrtBackend:
    """A bundle in one ONNX Runtime session, which runs what is asked for alone: argmax only where labels are."""

    def __init__(self, bundle: Bundle, cuda: ModuleType | None = None, *particulars: str) -> None:
        """`cuda` knows the GPU that runs it; without one the processor does.

        `particulars` are `BOUND`, or both that and `GRAPH`: how the GPU runs it.
        """
        self.spec = bundle.spec
        self._cuda = cuda
        self._bound: Bound | None = None
        self._asked_alone = onnxruntime.RunOptions()
        self._asked_alone.only_execute_path_to_fetches = True
        network = bundle.spec.network
        live_share = live_values(network, has_copies=False) / live_values(network)
        threads = hardware.cpu().threads if cuda is None else 0
        self.device = Device(
            engine=", ".join([f"onnxruntime {onnxruntime.__version__}", *particulars]),
            name=hardware.cpu().name if cuda is None else cuda.gpu().name,
            precision=bundle.arithmetic,
            threads=threads,
            others="float32" if bundle.arithmetic == "int8" else None,
        )
        if cuda is None:
            self._session = _session(bundle, _options(), [ort_cuda.CPU_PROVIDER])
            if self._session.get_providers()[0] != ort_cuda.CPU_PROVIDER:  # a session may quietly move elsewhere
                moved = f"runs on {self._session.get_providers()[0]}, wanted {ort_cuda.CPU_PROVIDER}"
                raise BackendUnavailable(f"ONNX Runtime {moved}")
            self._footprint = host_footprint(_SHARE * live_share)
            return
        free_before, _ = cuda.memory_bytes()
        if particulars:
            has_graph = GRAPH in particulars
            self._bound = Bound(
                onnxruntime,
                lambda: _gpu_session(bundle, has_graph=has_graph),
                lambda: int(cuda.memory_bytes()[0]),
                has_graph=has_graph,
            )
        else:
            self._session = _gpu_session(bundle)
            for name, value in ort_cuda.RUN_ENTRIES.items():
                self._asked_alone.add_run_config_entry(name, value)
        self._footprint = Footprint(
            held_bytes=max(0, free_before - cuda.memory_bytes()[0]),
            share=_GPU_SHARE[bundle.arithmetic] * live_share,
            is_host=False,
        )

    @property
    def footprint(self) -> Footprint:
        """See `Backend.footprint`."""
        if self._bound is None:
            return self._footprint
        return replace(self._footprint, keeps_buffers=True, kept_bytes=self._bound.kept_bytes, is_kept_apart=True)

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`."""
        logits: FloatArray
        [logits] = self._ran(windows, LOGITS)
        return logits

    def labels(self, windows: FloatArray) -> LabelArray:
        """See `Backend.labels`."""
        labels: LabelArray
        labels, logit_mean = self._ran(windows, LABELS, LOGIT_MEAN)
        check_logit_mean(float(logit_mean))
        return labels

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        if self._cuda is None:
            return hardware.usable_memory_bytes()
        return int(self._cuda.memory_bytes()[0]) + (self._bound.kept_bytes if self._bound is not None else 0)

    def let_go(self) -> None:
        """See `Backend.let_go`: of bound buffers and graphs."""
        if self._bound is not None:
            self._bound.let_go()

    def close(self) -> None:
        """See `Backend.close`."""
        if self._bound is not None:
            self._bound.close()
        else:
            del self._session

    def _ran(self, windows: FloatArray, *outputs: str) -> Any:
        check_windows(windows, self.spec)
        try:
            if self._bound is not None:
                return self._bound.run(windows, {name: self._output(name, windows.shape) for name in outputs})
            return self._session.run(outputs, {"windows": windows}, self._asked_alone)
        except _ENGINE_ERRORS as error:
            if self._cuda is None or not any(words in str(error).lower() for words in ort_cuda.OUT_OF_MEMORY):
                raise engine_failure(self.device, windows, error) from error
            x, y, z = windows.shape[2:]
            planned_bytes = buffer_bytes(self.spec, self._footprint.share, len(windows), (x, y, z))
            raise memory_failure(self.device, windows, planned_bytes, self.free_bytes() or 0, error) from error

    def _output(self, name: str, windows: tuple[int, ...]) -> tuple[tuple[int, ...], npt.DTypeLike]:
        """Shape and type of an output, for windows (N, C, X, Y, Z)."""
        count, _, *edges = windows
        known: dict[str, tuple[tuple[int, ...], npt.DTypeLike]] = {
            LOGITS: ((count, len(self.spec.labels), *edges), np.float32),
            LABELS: ((count, *edges), np.uint8),
            LOGIT_MEAN: ((), np.float32),
        }
        return known[name]


def open_bundle(bundle: Bundle, precision: Choice) -> OrtBackend:
    """The backend for a bundle, in the arithmetic of its graph; what that leaves open is float32.

    On the first CUDA GPU where ONNX Runtime was built for CUDA and a driver is there, else, and in int8, on the CPU.

    Raises BundleError if ONNX Runtime cannot load it, ArithmeticUnavailable if it computes in what the GPU does not do
    well, BackendUnavailable if the session did not get the GPU that it was to run on.
    """
    assert precision in ("auto", *PRECISIONS), precision  # open_backend has checked
    return OrtBackend(bundle, _cuda_for(bundle))


def ways(bundle: Bundle) -> list[Way]:
    """The ways to run a bundle on the GPU, the plain one first; none on a CPU. Raises what `open_bundle` does."""
    cuda = _cuda_for(bundle)
    if cuda is None:
        return []

    def way(*particulars: str, base: str = "", wait_s: float = 0.0) -> Way:
        name = ", ".join([bundle.arithmetic, *particulars])
        return Way(name=name, open=lambda: OrtBackend(bundle, cuda, *particulars), base=base, wait_s=wait_s)

    return [way(), *(way(*how, base=bundle.arithmetic, wait_s=_BOUND_S) for how in ((BOUND,), (BOUND, GRAPH)))]


def _cuda_for(bundle: Bundle) -> ModuleType | None:
    """What knows the GPU that is to run the bundle; None for the processor."""
    listed = onnxruntime.get_available_providers()
    if not ort_cuda.is_cuda_asked_for(listed, bundle.arithmetic, has_driver=hardware.has_nvidia_driver()):
        return None
    cuda = ort_cuda.load_cuda()
    gpu = cuda.gpu()
    major, _, minor = gpu.capability.partition(".")
    ort_cuda.check_arithmetic(bundle, gpu.name, (int(major), int(minor)))
    return cuda


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = hardware.cpu().threads
    # a brain's shape seldom comes twice: the arena and the memory pattern would only hold the last one's buffers
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    return options


def _gpu_session(bundle: Bundle, *, has_graph: bool = False) -> Any:
    """A session on the GPU. Raises BackendUnavailable if it, or a part of the network, went elsewhere."""
    ort_cuda.preload(onnxruntime)
    options = _options()
    options.log_severity_level = 4  # it writes pages to stderr before it moves to the CPU, which we tell in one line
    for name, value in ort_cuda.SESSION_ENTRIES.items():
        options.add_session_config_entry(name, value)
    chosen = {**ort_cuda.PROVIDER_OPTIONS, **(ort_cuda.GRAPH_OPTIONS if has_graph else {})}
    wanted = [(ort_cuda.CUDA_PROVIDER, chosen), ort_cuda.CPU_PROVIDER]
    session = _session(bundle, options, wanted)
    layers = ort_cuda.layers_by_provider(session)
    ort_cuda.check_placement(session.get_providers()[0], layers, onnxruntime.__version__)
    return session


def _session(bundle: Bundle, options: Any, providers: list[Any]) -> Any:
    """Without the library's fall-back: it would open, or after a failed run go on, on another provider.

    Raises BundleError if ONNX Runtime cannot load the bundle.
    """
    try:
        return onnxruntime.InferenceSession(
            with_labels(bundle.content), options, providers=providers, enable_fallback=0
        )
    except _ENGINE_ERRORS as error:
        raise BundleError(f"{bundle.path}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error
