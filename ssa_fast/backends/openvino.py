"""The `openvino` backend: OpenVINO on the CPU, in bf16 where the processor gains from it."""

from __future__ import annotations

import io
from collections.abc import Callable
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
    Gives,
    Precision,
    buffer_bytes,
    check_logit_mean,
    check_windows,
    cpu_precision,
    engine_failure,
    host_footprint,
    labels_of_batch,
)
from ssa_fast.backends.manifest import Manifest, engine_bytes
from ssa_fast.errors import BundleError, EngineError
from ssa_fast.model.argmax import LABELS, LOGIT_MEAN, LOGITS, with_labels
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.spec import ModelSpec
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["PRECISIONS", "OpenvinoBackend", "exported", "machine", "open_bundle", "open_engine"]

PRECISIONS = ("float32", "bf16")
_SHARES: dict[tuple[Precision, Precision | None], tuple[float, float]] = {  # of logits, and of labels in one pass
    # measured with both networks, 96^3 to 160 x 192 x 160, and 0.03 to 0.11 for the windows; it pads channels to 16
    ("float32", None): (1.3, 1.25),  # of labels 1.14 to 1.31, the most where a pass is small
    ("bf16", None): (0.65, 0.62),  # 0.6 to 0.65
    ("int8", "float32"): (0.62, 0.54),  # 0.32 to 0.55
    ("int8", "bf16"): (0.52, 0.49),  # 0.32 to 0.51
}
_TYPES = {"float32": openvino.Type.f32, "bf16": openvino.Type.bf16}


class OpenvinoBackend:
    """A bundle compiled by OpenVINO, again for each shape of windows that it has not just seen.

    One of two graphs is held: that of the labels or that of the logits, compiled when it is first asked for. Logits
    that nobody reads would take the memory that argmax saves.
    """

    def __init__(
        self, compiled_for: Callable[[Gives], openvino.CompiledModel], spec: ModelSpec, device: Device
    ) -> None:
        self._compiled_for = compiled_for
        self._compiled: openvino.CompiledModel | None = None
        self._request: openvino.InferRequest | None = None
        self._gives: Gives = "labels"
        self._footprint: Footprint | None = None
        self.spec = spec
        self.device = device
        self._kept_bytes = 0  # buffers grow with the windows, and do not shrink

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`."""
        logits: FloatArray = self._ran("logits", windows)[0]
        return logits

    def labels(self, windows: FloatArray) -> LabelArray:
        """See `Backend.labels`."""
        result = self._ran("labels", windows)
        if len(result) == 1:  # an engine of before it had argmax
            return labels_of_batch(result[0])
        check_logit_mean(float(result[1]))
        labels: LabelArray = result[0]
        return labels

    @property
    def footprint(self) -> Footprint:
        """See `Backend.footprint`. What nobody asked before is made ready for labels, so that it is known."""
        if self._footprint is None:
            self.compiled("labels")
        assert self._footprint is not None
        return replace(self._footprint, keeps_buffers=True, kept_bytes=self._kept_bytes)

    def let_go(self) -> None:
        """See `Backend.let_go`."""
        if self._compiled is not None:
            self._compiled.release_memory()
        self._kept_bytes = 0

    def compiled(self, gives: Gives) -> openvino.CompiledModel:
        """The graph of the labels or of the logits; the other one is let go of.

        Raises BundleError or EngineError if OpenVINO cannot load it.
        """
        if self._compiled is None or self._gives != gives:
            self._compiled = self._request = None
            self._kept_bytes = 0
            self._compiled = self._compiled_for(gives)
            self._request = self._compiled.create_infer_request()
            self._gives = gives
        if self._footprint is None:
            self._footprint = host_footprint(*_SHARES[self.device.precision, self.device.others])
        return self._compiled

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        return hardware.usable_memory_bytes()

    def close(self) -> None:
        """See `Backend.close`."""
        del self._request, self._compiled, self._compiled_for

    def _ran(self, gives: Gives, windows: FloatArray) -> Any:
        check_windows(windows, self.spec)
        self.compiled(gives)
        assert self._request is not None
        try:
            result = self._request.infer({0: openvino.Tensor(windows, shared_memory=True)}, share_outputs=True)
        except (RuntimeError, MemoryError) as error:
            raise engine_failure(self.device, windows, error) from error
        x, y, z = windows.shape[2:]
        taken = buffer_bytes(self.spec, self.footprint.share_for(gives), len(windows), (x, y, z))
        self._kept_bytes = max(self._kept_bytes, taken)
        return result


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
    content, path = bundle.content, bundle.path
    _read(content, path)  # now, so that a damaged one is told before a case is read

    def compiled_for(gives: Gives) -> openvino.CompiledModel:
        graph = _read(with_labels(content), path)
        wanted = {LABELS, LOGIT_MEAN} if gives == "labels" else {LOGITS}
        results = [result for result in graph.get_results() if result.input_value(0).get_names() & wanted]
        try:
            return _core().compile_model(openvino.Model(results, graph.get_parameters()), "CPU", _settings(chosen))
        except RuntimeError as error:
            raise _unloadable(path, error) from error

    return OpenvinoBackend(compiled_for, bundle.spec, _device(chosen, is_int8=bundle.arithmetic == "int8"))


def open_engine(folder: Path, manifest: Manifest) -> OpenvinoBackend:
    """The backend for an engine: what `exported` gave, read back without compiling.

    Raises EngineError if it is damaged, or was built for another processor or another version of OpenVINO.
    """
    manifest.check_machine(machine(), folder)
    for gives in manifest.gives:
        engine_bytes(folder, manifest, gives)  # now, so that a damaged one is told before a case is read
    is_int8 = manifest.precision == "int8"
    chosen = cast(Precision, manifest.built_with.get("others", "float32") if is_int8 else manifest.precision)

    def compiled_for(gives: Gives) -> openvino.CompiledModel:
        content = engine_bytes(folder, manifest, gives if gives in manifest.gives else "logits")
        try:
            return _core().import_model(content, "CPU", _settings(chosen))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise EngineError(
                f"{folder}: OpenVINO cannot load it ({reason}): build it again: {manifest.command}"
            ) from error

    return OpenvinoBackend(compiled_for, manifest.spec, _device(chosen, is_int8=is_int8))


def exported(backend: OpenvinoBackend, gives: Gives) -> bytes:
    """The compiled graph of the logits or of the labels as OpenVINO stores it, for `open_engine` on this machine."""
    content: bytes = backend.compiled(gives).export_model().getvalue()
    return content


def machine() -> dict[str, str]:
    """What must be equal where an engine runs."""
    return {"processor": hardware.cpu().name, "openvino": openvino.__version__}


def _read(content: bytes, path: Path) -> openvino.Model:
    try:
        return _core().read_model(io.BytesIO(content))
    except RuntimeError as error:
        raise _unloadable(path, error) from error


def _unloadable(path: Path, error: RuntimeError) -> BundleError:
    return BundleError(f"{path}: OpenVINO cannot load it: {str(error).splitlines()[0]}")


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
