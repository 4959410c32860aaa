"""Engines that run a bundle, each behind the same protocol, each imported only when it is opened."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path
from types import MappingProxyType, ModuleType

from ssa_fast import hardware
from ssa_fast.backends.base import Backend, Choice, Device, Precision
from ssa_fast.backends.half_guard import GuardedBackend
from ssa_fast.backends.manifest import read_manifest
from ssa_fast.backends.measured import MeasuredBackend
from ssa_fast.backends.probe import probe_onnxruntime
from ssa_fast.backends.tensorrt_errors import explained, failure_of
from ssa_fast.backends.trial import circumstances
from ssa_fast.errors import BackendUnavailable, ConfigError, EngineError
from ssa_fast.model.bundle import Bundle

__all__ = [
    "BACKENDS",
    "Backend",
    "Choice",
    "Device",
    "Precision",
    "available_backends",
    "choose_backend",
    "open_backend",
    "open_engine",
    "preferred_backend",
]

_log = logging.getLogger(__name__)

# A module is imported only when its backend is opened; the library and the extra that brings it stand beside it.
BACKENDS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "openvino": ("ssa_fast.backends.openvino", "openvino", "openvino"),
        "torch": ("ssa_fast.backends.pytorch", "torch", "torch"),
        "ort": ("ssa_fast.backends.onnxruntime", "onnxruntime", "cpu"),
        "trt": ("ssa_fast.backends.tensorrt", "tensorrt", "trt"),
    }
)
"""Name -> module, library, extra; the fastest on a CPU first."""

_OF_ENGINES_ALONE = frozenset({"trt"})  # they run no bundle, so nobody chooses them for one


def available_backends() -> tuple[str, ...]:
    """Names of the backends that run bundles and whose library is installed, the fastest on a CPU first."""
    return tuple(
        name
        for name, (_, library, _) in BACKENDS.items()
        if name not in _OF_ENGINES_ALONE and util.find_spec(library) is not None
    )


def choose_backend() -> tuple[str, str]:
    """The backend that `auto` stands for on this machine, and why, in a few words.

    Raises BackendUnavailable if none is installed.
    """
    available, gpus = available_backends(), {}
    if hardware.has_nvidia_driver():  # only then are they worth their import
        if "torch" in available:
            gpus["torch"] = importlib.import_module(BACKENDS["torch"][0]).gpu_name()
        if "ort" in available and not gpus.get("torch"):
            facts = probe_onnxruntime()
            gpus["ort"] = facts.gpu if facts is not None else ""
    return preferred_backend(available, gpus)


def preferred_backend(available: tuple[str, ...], gpus: Mapping[str, str]) -> tuple[str, str]:
    """The rule of `choose_backend`, over plain facts: what is installed, and the GPUs that backends compute on.

    Raises BackendUnavailable if nothing is installed.
    """
    if not available:
        raise BackendUnavailable("no engine is installed: pip install 'ssa-fast[cpu]' (or 'ssa-fast[openvino]')")
    for name in ("torch", "ort"):
        if name in available and gpus.get(name):
            return name, f"it computes on {gpus[name]}; installed: {', '.join(available)}"
    missing = [name for name in BACKENDS if name not in available and name not in _OF_ENGINES_ALONE]
    reason = (
        "fastest on CPUs in our measurements"
        if available[0] == "openvino"
        else f"{' and '.join(missing)} not installed"
    )
    return available[0], f"{reason}; installed: {', '.join(available)}"


def open_backend(name: str, bundle: Bundle, precision: Choice = "auto", cache: Path | None = None) -> Backend:
    """The bundle, loaded and ready in the backend `name`.

    float16 is tried beside float32 on the first brain of each shape, and refused where it is not right or does not pay:
    see `GuardedBackend`. On a GPU `auto` is the fastest way that was seen to be right: see `MeasuredBackend`. What was
    seen is kept in the folder `cache` for the next run.

    Raises ConfigError for a name or precision that there is not, BackendUnavailable if the library is missing,
    BundleError if the engine cannot load the bundle.
    """
    module = _module(name)
    if precision not in ("auto", *module.PRECISIONS):
        raise ConfigError(f"backend '{name}' computes in {' or '.join(module.PRECISIONS)}, not {precision}")
    ways = module.ways(bundle) if precision == "auto" and hasattr(module, "ways") else []  # engines have one way each
    if len(ways) > 1:
        backend: Backend = MeasuredBackend(ways, bundle.sha256, cache)
    else:
        backend = module.open_bundle(bundle, precision)
    if precision == "float16":
        full = module.open_bundle(bundle, "float32")
        backend = GuardedBackend(full, backend, circumstances(backend.device, bundle.sha256), cache)
    _log.info("%s: %s, %d bytes, SHA-256 %s", bundle.path, bundle.spec.name, len(bundle.content), bundle.sha256)
    return backend


def open_engine(folder: Path, *, is_unproven_allowed: bool = False) -> Backend:
    """The engine in a folder, loaded and ready in the backend that its manifest names.

    Raises EngineError if it is damaged, was built for another machine or version, or has no passing parity record (the
    last may be allowed); BackendUnavailable if the library is missing.
    """
    manifest = read_manifest(folder)
    if manifest.backend == "trt-rtx":
        raise EngineError(
            f"{folder}: was built by TensorRT-RTX to check graph and memory, and is not run: build one that is on the "
            "machine itself, with 'ssa-fast export BUNDLE --backend trt'"
        )
    manifest.check_parity(folder, is_unproven_allowed=is_unproven_allowed)
    backend: Backend = _module(manifest.backend).open_engine(folder, manifest)
    _log.info("%s: %s, built from a bundle of SHA-256 %s", folder, manifest.spec.name, manifest.bundle_sha256)
    return backend


def _module(name: str) -> ModuleType:
    """The module of a backend. Raises ConfigError if there is none, BackendUnavailable if its library is missing."""
    if name not in BACKENDS:
        raise ConfigError(f"no backend '{name}': there are auto, {', '.join(BACKENDS)}")
    module_name, library, extra = BACKENDS[name]
    if library == "onnxruntime":
        _refuse_two_onnxruntimes()
    try:
        return importlib.import_module(module_name)
    except (ImportError, FileNotFoundError) as error:  # the second: TensorRT's way to say that a DLL is missing
        if library == "tensorrt" and failure_of(str(error)) is not None:
            raise explained(f"backend '{name}'", [str(error)]) from error
        also = " (or 'ssa-fast[gpu]')" if extra == "cpu" else ""
        raise BackendUnavailable(
            f"backend '{name}' needs '{library}': pip install 'ssa-fast[{extra}]'{also} ({error})"
        ) from error


def _refuse_two_onnxruntimes() -> None:
    """Both wheels unpack into one folder, and the one that came last has overwritten half of the other."""
    installed = [package for package in ("onnxruntime", "onnxruntime-gpu") if _is_installed(package)]
    if len(installed) == 2:
        raise BackendUnavailable(
            "onnxruntime and onnxruntime-gpu are both installed and break each other: pip uninstall -y "
            "onnxruntime onnxruntime-gpu, then install 'ssa-fast[cpu]' or 'ssa-fast[gpu]'"
        )


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
