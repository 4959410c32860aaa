"""The `ort` backend: ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from ssa_fast import hardware
from ssa_fast.backends.base import Choice, Device, check_logit_mean, check_windows, engine_failure, host_footprint
from ssa_fast.errors import BackendUnavailable, BundleError
from ssa_fast.model.argmax import LABELS, LOGIT_MEAN, LOGITS, with_labels
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.spec import live_values
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["PRECISIONS", "OrtBackend", "open_bundle"]

PRECISIONS = ("float32",)
_PROVIDER = "CPUExecutionProvider"
_SHARE = 1.13  # measured with both networks, 64^3 to 144 x 176 x 144; norms work in place
_LABELS_SHARE = 1.0  # in one pass: 0.65 (`lite`, 144 x 176 x 144) to 1.05 (`reference`, 96^3)
_ENGINE_ERRORS = (  # the library's own classes share no base
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class OrtBackend:
    """A bundle in one ONNX Runtime session, which runs what is asked for alone: argmax only where labels are."""

    def __init__(self, bundle: Bundle) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = hardware.cpu().threads
        # a brain's shape seldom comes twice: the arena and the memory pattern would only hold the last one's buffers
        options.enable_mem_pattern = False
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(with_labels(bundle.content), options, providers=[_PROVIDER])
        except _ENGINE_ERRORS as error:
            raise BundleError(f"{bundle.path}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error
        if self._session.get_providers()[0] != _PROVIDER:  # a session may quietly move elsewhere
            raise BackendUnavailable(f"ONNX Runtime runs on {self._session.get_providers()[0]}, wanted {_PROVIDER}")
        self._asked_alone = onnxruntime.RunOptions()
        self._asked_alone.only_execute_path_to_fetches = True
        self.spec = bundle.spec
        self.device = Device(
            engine=f"onnxruntime {onnxruntime.__version__}",
            name=hardware.cpu().name,
            precision=bundle.arithmetic,
            threads=hardware.cpu().threads,
            others="float32" if bundle.arithmetic == "int8" else None,
        )
        network = bundle.spec.network
        share = _SHARE * live_values(network, has_copies=False) / live_values(network)
        self.footprint = host_footprint(share, min(share, _LABELS_SHARE))

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
        return hardware.usable_memory_bytes()

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

    Raises BundleError if ONNX Runtime cannot load it.
    """
    assert precision in ("auto", *PRECISIONS), precision  # open_backend has checked
    return OrtBackend(bundle)
