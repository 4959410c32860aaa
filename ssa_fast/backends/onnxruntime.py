"""The `ort` backend: ONNX Runtime on the CPU, or on the first CUDA GPU."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from ssa_fast import hardware
from ssa_fast.backends import ort_cuda
from ssa_fast.backends.base import (
    Choice,
    Device,
    Footprint,
    check_logit_mean,
    check_windows,
    engine_failure,
    host_footprint,
)
from ssa_fast.errors import BackendUnavailable, BundleError
from ssa_fast.model.argmax import LABELS, LOGIT_MEAN, LOGITS, with_labels
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.spec import live_values
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["PRECISIONS", "OrtBackend", "open_bundle"]

PRECISIONS = ("float32",)
_SHARE = 1.13  # measured with both networks, 64^3 to 144 x 176 x 144; norms work in place
_LABELS_SHARE = 1.0  # in one pass: 0.65 (`lite`, 144 x 176 x 144) to 1.05 (`reference`, 96^3)
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

    def __init__(self, bundle: Bundle, cuda: ModuleType | None = None) -> None:
        """`cuda` knows the GPU that runs it; without one the processor does."""
        self.spec = bundle.spec
        self._cuda = cuda
        self._asked_alone = onnxruntime.RunOptions()
        self._asked_alone.only_execute_path_to_fetches = True
        network = bundle.spec.network
        live_share = live_values(network, has_copies=False) / live_values(network)
        threads = hardware.cpu().threads if cuda is None else 0
        self.device = Device(
            engine=f"onnxruntime {onnxruntime.__version__}",
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
            share = _SHARE * live_share
            self.footprint = host_footprint(share, min(share, _LABELS_SHARE))
            return
        free_before, _ = cuda.memory_bytes()
        self._session = _gpu_session(bundle)
        for name, value in ort_cuda.RUN_ENTRIES.items():
            self._asked_alone.add_run_config_entry(name, value)
        self.footprint = Footprint(
            held_bytes=max(0, free_before - cuda.memory_bytes()[0]),
            share=_GPU_SHARE[bundle.arithmetic] * live_share,
            is_host=False,
        )

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
        return hardware.usable_memory_bytes() if self._cuda is None else int(self._cuda.memory_bytes()[0])

    def let_go(self) -> None:
        """See `Backend.let_go`: nothing is kept."""

    def close(self) -> None:
        """See `Backend.close`."""
        del self._session

    def _ran(self, windows: FloatArray, *outputs: str) -> Any:
        check_windows(windows, self.spec)
        try:
            return self._session.run(outputs, {"windows": windows}, self._asked_alone)
        except _ENGINE_ERRORS as error:
            raise engine_failure(self.device, windows, error) from error


def open_bundle(bundle: Bundle, precision: Choice) -> OrtBackend:
    """The backend for a bundle, in the arithmetic of its graph; what that leaves open is float32.

    On the first CUDA GPU where ONNX Runtime was built for CUDA and a driver is there, else, and in int8, on the CPU.

    Raises BundleError if ONNX Runtime cannot load it, ArithmeticUnavailable if it computes in what the GPU does not do
    well, BackendUnavailable if the session did not get the GPU that it was to run on.
    """
    assert precision in ("auto", *PRECISIONS), precision  # open_backend has checked
    listed = onnxruntime.get_available_providers()
    if not ort_cuda.is_cuda_asked_for(listed, bundle.arithmetic, has_driver=hardware.has_nvidia_driver()):
        return OrtBackend(bundle)
    cuda = ort_cuda.load_cuda()
    gpu = cuda.gpu()
    major, _, minor = gpu.capability.partition(".")
    ort_cuda.check_arithmetic(bundle, gpu.name, (int(major), int(minor)))
    return OrtBackend(bundle, cuda)


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = hardware.cpu().threads
    # a brain's shape seldom comes twice: the arena and the memory pattern would only hold the last one's buffers
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    return options


def _gpu_session(bundle: Bundle) -> Any:
    """A session on the GPU. Raises BackendUnavailable if it, or a part of the network, went elsewhere."""
    ort_cuda.preload(onnxruntime)
    options = _options()
    options.log_severity_level = 4  # it writes pages to stderr before it moves to the CPU, which we tell in one line
    for name, value in ort_cuda.SESSION_ENTRIES.items():
        options.add_session_config_entry(name, value)
    wanted = [(ort_cuda.CUDA_PROVIDER, dict(ort_cuda.PROVIDER_OPTIONS)), ort_cuda.CPU_PROVIDER]
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
