"""What the engines say of themselves on this machine, and what they do when they are asked for a GPU."""

from __future__ import annotations

import importlib
import io
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import util
from typing import Any

from ssa_fast.backends.ort_cuda import CPU_PROVIDER, CUDA_PROVIDER, load_cuda, preload
from ssa_fast.errors import SsaFastError
from ssa_fast.measure import installed_versions
from ssa_fast.pretrained import DEFAULT_BUNDLE, shipped_bundle

__all__ = [
    "CUDA_PROVIDER",
    "OrtFacts",
    "TorchFacts",
    "installed_packages",
    "probe_onnxruntime",
    "probe_torch",
    "without_folders",
]

_PACKAGES = (
    *("ssa-fast", "numpy", "nibabel", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "nvidia-ml-py"),
    *("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx-cu12"),
)


@dataclass(frozen=True, kw_only=True)
class TorchFacts:
    """What torch tells."""

    version: str = ""
    cuda: str = ""  # that it was built for, such as 12.6; empty for a build without CUDA
    cudnn: str = ""  # that it runs with, such as 9.15.1
    gpu: str = ""  # that it computes on; empty: the processor
    capability: tuple[int, int] = (0, 0)  # of that GPU
    warning: str = ""  # what it said while it looked for a GPU
    error: str = ""  # why it cannot be used


@dataclass(frozen=True, kw_only=True)
class OrtFacts:
    """What ONNX Runtime tells, and what came of asking it for a GPU."""

    version: str = ""
    providers: tuple[str, ...] = ()  # that it lists, whether this machine has such a device or not
    cuda_session: str = ""  # provider of a session that asked for CUDA; empty where none is listed
    gpu: str = ""  # that the backend `ort` computes on; empty: the processor, or nothing that says which GPU it is
    error: str = ""  # why it cannot be used


def installed_packages() -> dict[str, str]:
    """Versions of the packages that matter here, by name; those that are absent are left out."""
    return installed_versions(_PACKAGES)


def probe_torch() -> TorchFacts | None:
    """What torch tells, or None where it is not installed. Imports it, which takes seconds."""
    if util.find_spec("torch") is None:
        return None
    try:
        facts: TorchFacts = importlib.import_module("ssa_fast.backends.pytorch").torch_facts()
    except (ImportError, OSError) as error:  # OSError: a shared library is missing or foreign
        return TorchFacts(error=_said(error))
    return facts


def probe_onnxruntime() -> OrtFacts | None:
    """What ONNX Runtime tells, or None where it is not installed."""
    if util.find_spec("onnxruntime") is None:
        return None
    try:
        import onnxruntime

        version, providers = onnxruntime.__version__, tuple(onnxruntime.get_available_providers())
    except (ImportError, OSError, AttributeError) as error:  # AttributeError: half of it was overwritten or removed
        return OrtFacts(error=_said(error))
    session = _cuda_session(onnxruntime) if CUDA_PROVIDER in providers else ""
    gpu = _cuda_gpu() if session == CUDA_PROVIDER else ""
    return OrtFacts(version=version, providers=providers, cuda_session=session, gpu=gpu)


def _cuda_session(onnxruntime: Any) -> str:
    """The provider that runs a session which asked for CUDA: the CPU's, without a word, where CUDA cannot be had."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it writes pages to stderr before it moves to the CPU
    preload(onnxruntime)
    with redirect_stdout(io.StringIO()):  # it prints, too
        session = onnxruntime.InferenceSession(
            shipped_bundle(DEFAULT_BUNDLE).read_bytes(), options, providers=[CUDA_PROVIDER, CPU_PROVIDER]
        )
    provider: str = session.get_providers()[0]
    return provider


def _cuda_gpu() -> str:
    """The name of CUDA's first GPU, or nothing where cuda-python cannot tell: the backend would refuse, too."""
    try:
        name: str = load_cuda().gpu().name
    except SsaFastError:
        return ""
    return name


def without_folders(text: str) -> str:
    """`text` without the folders of the absolute paths in it: they may hold a person's name."""
    return re.sub(r"""(?<![\w.)])(?:[A-Za-z]:)?(?:[\\/][^\\/:'"]+)*[\\/](?=[^\\/])""", "", text)


def _said(error: Exception) -> str:
    """The first line, without folders."""
    return without_folders((str(error).splitlines() or ["cannot be imported"])[0])
