"""The `openvino` backend: OpenVINO on the CPU, in bf16 where the processor gains from it."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import openvino
from openvino import properties

from ssa_fast import hardware
from ssa_fast.backends.base import (
    Choice,
    Device,
    Precision,
    check_windows,
    cpu_precision,
    engine_failure,
    host_footprint,
)
from ssa_fast.errors import BundleError
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.geometry import FloatArray

__all__ = ["PRECISIONS", "OpenvinoBackend", "open_bundle"]

PRECISIONS = ("float32", "bf16")
_SHARE = {"float32": 1.3, "bf16": 0.8}  # measured with both networks, 96^3 to 144 x 176 x 144; it pads channels to 16
_TYPES = {"float32": openvino.Type.f32, "bf16": openvino.Type.bf16}


class OpenvinoBackend:
    """A bundle compiled by OpenVINO, again for each shape of windows that it has not just seen."""

    def __init__(self, bundle: Bundle, precision: Precision) -> None:
        settings: dict[Any, Any] = {
            properties.hint.inference_precision: _TYPES[precision],
            properties.hint.performance_mode: properties.hint.PerformanceMode.LATENCY,
            properties.inference_num_threads: hardware.cpu().threads,
        }
        try:
            model = _core().read_model(io.BytesIO(bundle.content))
            self._compiled = _core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise BundleError(f"{bundle.path}: OpenVINO cannot load it: {str(error).splitlines()[0]}") from error
        self._request = self._compiled.create_infer_request()
        self.spec = bundle.spec
        self.device = Device(
            engine=f"openvino {openvino.__version__.split('-')[0]}",
            name=hardware.cpu().name,
            precision=precision,
            threads=hardware.cpu().threads,
        )
        self.footprint = host_footprint(_SHARE[self.device.precision])

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`."""
        check_windows(windows, self.spec)
        try:
            result = self._request.infer({0: openvino.Tensor(windows, shared_memory=True)}, share_outputs=True)
        except (RuntimeError, MemoryError) as error:
            raise engine_failure(self.device, windows, error) from error
        logits: FloatArray = result[0]
        return logits

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        return hardware.usable_memory_bytes()

    def close(self) -> None:
        """See `Backend.close`."""
        del self._request, self._compiled


@lru_cache(maxsize=1)
def _core() -> openvino.Core:
    """One for the process.

    The CPU plugin of each core replaces the thread's signal stack, and puts back the one that it found when it goes. If
    that was another core's and is freed, the next signal, Ctrl-C say, is a segmentation fault (seen with 2026.4.1).
    """
    return openvino.Core()


def open_bundle(bundle: Bundle, precision: Choice) -> OpenvinoBackend:
    """The backend for a bundle.

    Raises BundleError if OpenVINO cannot load it, ConfigError if the processor lacks the precision.
    """
    return OpenvinoBackend(bundle, cpu_precision(precision))
