"""The `openvino` backend: OpenVINO on the CPU, in bf16 where the processor gains from it."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import openvino
from openvino import properties

from ssa_fast import hardware
from ssa_fast.backends.base import (
    Choice,
    Device,
    Footprint,
    Precision,
    buffer_bytes,
    check_windows,
    cpu_precision,
    engine_failure,
    host_footprint,
)
from ssa_fast.backends.manifest import Manifest, engine_bytes
from ssa_fast.errors import BundleError, EngineError
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.spec import ModelSpec
from ssa_fast.volume.geometry import FloatArray

__all__ = ["PRECISIONS", "OpenvinoBackend", "exported", "machine", "open_bundle", "open_engine"]

PRECISIONS = ("float32", "bf16")
_SHARE = {"float32": 1.3, "bf16": 0.8}  # measured with both networks, 96^3 to 144 x 176 x 144; it pads channels to 16
_TYPES = {"float32": openvino.Type.f32, "bf16": openvino.Type.bf16}


class OpenvinoBackend:
    """A bundle compiled by OpenVINO, again for each shape of windows that it has not just seen."""

    def __init__(self, compiled: openvino.CompiledModel, spec: ModelSpec, device: Device) -> None:
        self.compiled = compiled
        self._request = compiled.create_infer_request()
        self.spec = spec
        self.device = device
        self._opened = host_footprint(_SHARE[device.others or device.precision])  # of int8: what it is without it
        self._kept_bytes = 0  # buffers grow with the windows, and do not shrink

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`."""
        check_windows(windows, self.spec)
        try:
            result = self._request.infer({0: openvino.Tensor(windows, shared_memory=True)}, share_outputs=True)
        except (RuntimeError, MemoryError) as error:
            raise engine_failure(self.device, windows, error) from error
        logits: FloatArray = result[0]
        x, y, z = windows.shape[2:]
        self._kept_bytes = max(self._kept_bytes, buffer_bytes(self.spec, self._opened.share, len(windows), (x, y, z)))
        return logits

    @property
    def footprint(self) -> Footprint:
        """See `Backend.footprint`."""
        return replace(self._opened, kept_bytes=self._kept_bytes)

    def let_go(self) -> None:
        """See `Backend.let_go`."""
        self.compiled.release_memory()
        self._kept_bytes = 0

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        return hardware.usable_memory_bytes()

    def close(self) -> None:
        """See `Backend.close`."""
        del self._request, self.compiled


@lru_cache(maxsize=1)
def _core() -> openvino.Core:
    """One for the process.

    The CPU plugin of each core replaces the thread's signal stack, and puts back the one that it found when it goes. If
    that was another core's and is freed, the next signal, Ctrl-C say, is a segmentation fault (seen with 2026.4.1).
    """
    return openvino.Core()


def open_bundle(bundle: Bundle, precision: Choice) -> OpenvinoBackend:
    """The backend for a bundle.

    Of an int8 bundle `precision` is that of the layers that are not quantized. float16 is float32 here: OpenVINO widens
    it on a CPU.

    Raises BundleError if OpenVINO cannot load it, ConfigError if the processor lacks the precision.
    """
    chosen = cpu_precision(precision)
    try:
        model = _core().read_model(io.BytesIO(bundle.content))
        compiled = _core().compile_model(model, "CPU", _settings(chosen))
    except RuntimeError as error:
        raise BundleError(f"{bundle.path}: OpenVINO cannot load it: {str(error).splitlines()[0]}") from error
    return OpenvinoBackend(compiled, bundle.spec, _device(chosen, is_int8=bundle.arithmetic == "int8"))


def open_engine(folder: Path, manifest: Manifest) -> OpenvinoBackend:
    """The backend for an engine: what `exported` gave, read back without compiling.

    Raises EngineError if it is damaged, or was built for another processor or another version of OpenVINO.
    """
    manifest.check_machine(machine(), folder)
    content = engine_bytes(folder, manifest)
    is_int8 = manifest.precision == "int8"
    chosen = cast(Precision, manifest.built_with.get("others", "float32") if is_int8 else manifest.precision)
    try:
        compiled = _core().import_model(content, "CPU", _settings(chosen))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise EngineError(
            f"{folder}: OpenVINO cannot load it ({reason}): build it again: {manifest.command}"
        ) from error
    return OpenvinoBackend(compiled, manifest.spec, _device(chosen, is_int8=is_int8))


def exported(backend: OpenvinoBackend) -> bytes:
    """The compiled network as OpenVINO stores it, for `open_engine` on this very machine."""
    content: bytes = backend.compiled.export_model().getvalue()
    return content


def machine() -> dict[str, str]:
    """What must be equal where an engine runs."""
    return {"processor": hardware.cpu().name, "openvino": openvino.__version__}


def _settings(precision: Precision) -> dict[Any, Any]:
    return {
        properties.hint.inference_precision: _TYPES[precision],
        properties.hint.performance_mode: properties.hint.PerformanceMode.LATENCY,
        properties.inference_num_threads: hardware.cpu().threads,
    }


def _device(precision: Precision, *, is_int8: bool) -> Device:
    return Device(
        engine=f"openvino {openvino.__version__.split('-')[0]}",
        name=hardware.cpu().name,
        precision="int8" if is_int8 else precision,
        threads=hardware.cpu().threads,
        others=precision if is_int8 else None,
    )
