"""What TensorRT, its installation and CUDA say when something is wrong, each turned into one line with its remedy.

Where a message was not recorded from the library itself, its form is that of public reports; the tests say which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ssa_fast import hardware
from ssa_fast.errors import BackendUnavailable, EngineError, SsaFastError

__all__ = ["FAILURES", "Failure", "explained", "failure_of"]

_INSTALL = "pip install --force-reinstall 'ssa-fast[trt]'"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One way to fail: how it is recognized, and what a user is told. Groups of the pattern may stand in the line."""

    name: str
    pattern: re.Pattern[str]
    line: str
    is_of_machine: bool = False  # nothing is wrong with the engine or the bundle


def _failure(name: str, pattern: str, line: str, *, is_of_machine: bool = False) -> Failure:
    return Failure(name=name, pattern=re.compile(pattern, re.DOTALL), line=line, is_of_machine=is_of_machine)


FAILURES: tuple[Failure, ...] = (
    _failure(
        "provider of ONNX Runtime",
        r"onnxruntime_providers_tensorrt.*?(?P<file>(?:lib)?nvinfer[\w.]*)",
        "ONNX Runtime's TensorRT provider wants {file}, which is TensorRT 10's and not there (11 has another name): "
        "take --backend trt, which needs no ONNX Runtime, or pip install 'tensorrt-cu13<11'",
        is_of_machine=True,
    ),
    _failure(
        "index of the vendor",
        r"placeholder package which downloads a real wheel|No module named 'tensorrt(?:_rtx)?_(?:bindings|libs)'"
        r"|No matching distribution found for tensorrt[\w-]*[-_](?:libs|bindings)",
        "TensorRT is half installed: its real wheels come from NVIDIA's index pypi.nvidia.com, which pip did not "
        f"reach; from a network that lets it through: {_INSTALL}",
        is_of_machine=True,
    ),
    _failure(
        "library missing",
        r"(?P<file>(?:lib)?(?:nvinfer|nvonnxparser|tensorrt)[\w.]*?(?:\.so|\.dll)[\w.]*)"
        r"(?:: cannot open shared object file|\. Is it on your PATH)",
        "{file}, a library of TensorRT, is not beside its Python part (another version of it does not do): " + _INSTALL,
        is_of_machine=True,
    ),
    _failure(
        "driver",
        r"factory function returned nullptr|CUDA initialization failure with error"
        r"|CUDA driver version is insufficient|cudaErrorInsufficientDriver|cudaErrorNoDevice"
        r"|no CUDA-capable device|libcuda\.so|Failed to dlopen libcuda",
        "{driver}",
        is_of_machine=True,
    ),
    _failure(
        "another version",
        r"not compatible with this version of TensorRT, expecting library version (?P<here>[\d.]*\d)"
        r" got (?P<built>[\d.]*\d)",
        "the engine was built by TensorRT {built}, here is {here}: build it again",
    ),
    _failure(
        "another serialization",
        r"incompatible serialization version|Version tag does not match|kSERIALIZATION_VERSION",
        "the file is no engine of this version of TensorRT: build it again",
    ),
    _failure(
        "another GPU",
        r"incompatible device, expecting compute (?P<here>[\d.]*\d) got compute (?P<built>[\d.]*\d)",
        "the engine was built for a GPU of compute capability {built}, here is {here}: build it again on this machine",
    ),
    _failure(
        "damaged",
        r"Serialization assertion|[Ee]ngine deserialization failed|magicTag",
        "the engine's file is cut off or damaged: build it again",
    ),
    _failure(
        "float32 on Turing",
        r"operation '(?P<node>[^']+)' for Turing \(SM75\): FP32 3D convolution is not supported",
        "TensorRT-RTX has no float32 3D convolution for Turing (compute capability 7.5; node {node}): build float16, "
        "or with --backend trt on the card itself",
    ),
    _failure(
        "memory",
        r"OutOfMemory|[Oo]ut of memory|cudaErrorMemoryAllocation|insufficient (?:workspace|memory)"
        r"|within workspace limit|[Cc]ould not find any implementation for node",
        "the GPU memory that was granted does not do: close programs that use the GPU, raise workspace_gb in the "
        "profile, or build float16 or smaller boxes",
    ),
    _failure(
        "operator",
        r"operator: (?P<operator>\w+)",
        "operator {operator} is not one that this TensorRT can build: export the bundle again with this version of "
        "ssa-fast, or install a newer TensorRT",
    ),
    _failure(
        "graph",
        r"Failed to parse the ONNX model|MODEL_DESERIALIZE_FAILED",
        "the graph is not ONNX that TensorRT reads: export the bundle again",
    ),
)
"""The first that fits is told: what names a cause stands before what names an effect."""


def failure_of(text: str) -> Failure | None:
    """The failure that a message speaks of; None if it is none that is known."""
    return next((failure for failure in FAILURES if failure.pattern.search(text)), None)


def explained(where: str, messages: Iterable[str]) -> SsaFastError:
    """The error to raise for what TensorRT said, with its own first words behind.

    BackendUnavailable where the machine is at fault, else EngineError; a message that is not known is quoted.
    """
    said = [" ".join(message.split()) for message in messages if message.strip()]
    if not said:
        return EngineError(f"{where}: TensorRT gave nothing and said nothing: run it again with ssa-fast -v")
    whole = "\n".join(said)
    failure = failure_of(whole)
    if failure is None:
        return EngineError(f"{where}: TensorRT says: {_short(said[0])}")
    found = failure.pattern.search(whole)
    assert found is not None
    line = failure.line.format(driver=_driver_line(), **found.groupdict())
    kind = BackendUnavailable if failure.is_of_machine else EngineError
    quoted = next((message for message in said if failure.pattern.search(message)), said[0])
    return kind(f"{where}: {line} (TensorRT: {_short(quoted)})")


def _driver_line() -> str:
    """What is wrong with the driver, when something is."""
    if not hardware.has_nvidia_driver():
        return "no NVIDIA driver is loaded on this machine: install one, or take --backend ort or openvino"
    version = hardware.nvidia_driver_version()
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) >= hardware.CUDA13_DRIVER:
        return f"CUDA finds no GPU under the NVIDIA driver {version}: see nvidia-smi, and CUDA_VISIBLE_DEVICES"
    return (
        f"the NVIDIA driver ({version}) does not serve CUDA 13, which needs {hardware.CUDA13_DRIVER} or newer: "
        "update it and start the machine again"
    )


def _short(message: str, most: int = 200) -> str:
    return message if len(message) <= most else f"{message[:most]}..."
