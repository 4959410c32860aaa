"""ONNX Runtime on an NVIDIA GPU: when it is asked for, with which options, and whether the network really is there.

Never run on a GPU yet: what is known of the options comes from ONNX Runtime's documentation of its CUDA provider.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from types import MappingProxyType, ModuleType
from typing import Any

from ssa_fast.errors import ArithmeticUnavailable, BackendUnavailable
from ssa_fast.hardware import has_emulated_tensor_cores
from ssa_fast.model.bundle import Arithmetic, Bundle

__all__ = [
    "CPU_PROVIDER",
    "CUDA_PROVIDER",
    "GRAPH_OPTIONS",
    "OUT_OF_MEMORY",
    "PROVIDER_OPTIONS",
    "RUN_ENTRIES",
    "SESSION_ENTRIES",
    "check_arithmetic",
    "check_placement",
    "is_cuda_asked_for",
    "layers_by_provider",
    "load_cuda",
    "preload",
]

CUDA_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"
"""ONNX Runtime's names for an NVIDIA GPU and for the processor."""

PROVIDER_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "device_id": "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",  # tries every kernel, once for each new shape
        "use_tf32": "0",  # float32 means float32: TF32 keeps 10 bits of a factor
        "arena_extend_strategy": "kSameAsRequested",  # not the next power of two, on cards of 4 GB
    }
)
GRAPH_OPTIONS: Mapping[str, str] = MappingProxyType({"enable_cuda_graph": "1"})
"""Beside `PROVIDER_OPTIONS`, for a session whose every run has a `gpu_graph_id` and fixed addresses."""

OUT_OF_MEMORY = ("out of memory", "failed to allocate memory")
"""What CUDA and ONNX Runtime's arena say, in lower case."""

SESSION_ENTRIES: Mapping[str, str] = MappingProxyType(
    {
        "session.use_device_allocator_for_initializers": "1",  # weights beside the arena, so that it can shrink
        "session.record_ep_graph_assignment_info": "1",  # for `layers_by_provider`
    }
)
RUN_ENTRIES: Mapping[str, str] = MappingProxyType({"memory.enable_memory_arena_shrinkage": "gpu:0"})
"""A brain's shape seldom comes twice: the last one's buffers are given back after each run."""

# What computes over voxels; arithmetic over shapes is the processor's by ONNX Runtime's own choice. Additions and
# products are of both kinds, so those of batch-instance norm and of shortcuts are not watched.
_VOXEL_OPERATORS = frozenset(
    {
        "ArgMax",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "FusedConv",
        "InstanceNormalization",
        "MaxPool",
        "ReduceMean",
        "Relu",
    }
)


def is_cuda_asked_for(listed: Iterable[str], arithmetic: Arithmetic, *, has_driver: bool) -> bool:
    """Whether a session is to run on a GPU: ONNX Runtime was built for CUDA, and a driver is there.

    It lists CUDA wherever it was built for it, so without a driver the processor is meant. So it is for int8, for which
    ONNX Runtime has convolutions on processors alone.
    """
    return has_driver and CUDA_PROVIDER in listed and arithmetic != "int8"


def check_arithmetic(bundle: Bundle, gpu_name: str, capability: tuple[int, int]) -> None:
    """Raises ArithmeticUnavailable for a float16 bundle on a GPU that is not known to compute it rightly and fast."""
    if bundle.arithmetic == "float16" and (capability < (7, 0) or has_emulated_tensor_cores(gpu_name)):
        raise ArithmeticUnavailable(
            f"{bundle.path}: computes in float16, and {gpu_name} has no tensor cores: ONNX Runtime is slow with it "
            f"there, and may give NaN: take the float32 bundle that it was made from"
        )


def check_placement(runs_on: str, layers: Mapping[str, Sequence[str]], version: str) -> None:
    """Raises BackendUnavailable unless a session that asked for CUDA got it, for all that computes over voxels.

    `runs_on` is its first provider, `layers` the operators that each provider got.
    """
    if runs_on != CUDA_PROVIDER:
        raise BackendUnavailable(
            f"ONNX Runtime {version} is built for CUDA and a driver is there, but its session moved to {runs_on}: "
            "'ssa-fast doctor' says what is amiss; for the processor take --backend openvino or torch, or "
            "pip uninstall -y onnxruntime-gpu, then pip install 'ssa-fast[cpu]'"
        )
    elsewhere = {name: _VOXEL_OPERATORS.intersection(layers[name]) for name in sorted(layers) if name != runs_on}
    moved = [f"{', '.join(sorted(found))} to {name}" for name, found in elsewhere.items() if found]
    if moved:
        raise BackendUnavailable(
            f"ONNX Runtime {version} moved a part of the network off the GPU: {'; '.join(moved)}: "
            "pip install -U 'ssa-fast[gpu]', or take --backend torch"
        )


def layers_by_provider(session: Any) -> dict[str, list[str]]:
    """The operators of a session's graph by the provider that runs them; nothing where ONNX Runtime is too old to tell.

    The session was made with `SESSION_ENTRIES`.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    layers: dict[str, list[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        layers.setdefault(part.ep_name, []).extend(node.op_type for node in part.get_nodes())
    return layers


def preload(onnxruntime: Any) -> None:
    """Load CUDA and cuDNN from their Python packages, where a session finds them. Prints nothing."""
    if hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(io.StringIO()):  # of libraries that it does not find; the session then tells
            onnxruntime.preload_dlls()


def load_cuda() -> ModuleType:
    """`ssa_fast.backends.cuda`, which knows the GPU and its memory. Raises BackendUnavailable without cuda-python."""
    try:
        return importlib.import_module("ssa_fast.backends.cuda")
    except ImportError as error:
        raise BackendUnavailable(
            f"ONNX Runtime on a GPU needs cuda-python: pip install 'ssa-fast[gpu]' ({error})"
        ) from error
