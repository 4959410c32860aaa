"""What is known to go wrong with engines and their libraries. Each is a pure function of a machine's record."""

from __future__ import annotations

from ssa_fast.backends.probe import CUDA_PROVIDER
from ssa_fast.doctor.finding import TENSORRT, Finding, version_numbers
from ssa_fast.doctor.machine import Machine
from ssa_fast.hardware import CUDA13_DRIVER

__all__ = [
    "broken_engine",
    "no_engine",
    "ort_without_cuda",
    "tensorrt_11",
    "tensorrt_without_driver",
    "torch_2_9",
    "torch_without_gpu",
    "two_onnxruntimes",
]

_SOUND_CUDNN = (9, 15)


def no_engine(machine: Machine) -> Finding | None:
    """Nothing that runs a network is installed."""
    if machine.backends:
        return None
    return Finding(
        trap="no engine",
        severity="error",
        seen="neither openvino, torch nor onnxruntime is installed",
        effect="ssa-fast can read, check and prepare cases, but not segment them",
        fix="pip install 'ssa-fast[openvino]' (or 'ssa-fast[cpu]'; with an NVIDIA GPU 'ssa-fast[torch]')",
    )


def two_onnxruntimes(machine: Machine) -> Finding | None:
    """Both wheels unpack into one folder."""
    if not {"onnxruntime", "onnxruntime-gpu"} <= machine.packages.keys():
        return None
    return Finding(
        trap="two ONNX Runtimes",
        severity="error",
        seen=f"onnxruntime {machine.packages['onnxruntime']} and onnxruntime-gpu {machine.packages['onnxruntime-gpu']}",
        effect="both fill one folder and overwrite each other; the backend 'ort' refuses to start",
        fix="pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'ssa-fast[cpu]' (on a GPU 'ssa-fast[gpu]')",
    )


def broken_engine(machine: Machine) -> Finding | None:
    """A library is installed and cannot be imported."""
    broken = {
        name: facts.error
        for name, facts in (("torch", machine.torch), ("onnxruntime", machine.ort))
        if facts is not None
    }
    said = [f"{name}: {error}" for name, error in broken.items() if error]
    if not said:
        return None
    names = " ".join(name for name, error in broken.items() if error)
    return Finding(
        trap="an engine that cannot be imported",
        severity="error",
        seen="; ".join(said),
        effect="its backend cannot be used, though it is installed",
        fix=f"pip install --force-reinstall {names}",
    )


def torch_2_9(machine: Machine) -> Finding | None:
    """3D convolutions under mixed precision: cuDNN before 9.15 has a slow, hungry one for torch 2.9."""
    facts = machine.torch
    if facts is None or not facts.cuda or version_numbers(facts.version)[:2] != (2, 9):
        return None
    if version_numbers(facts.version) >= (2, 9, 1) and version_numbers(facts.cudnn) >= _SOUND_CUDNN:
        return None
    return Finding(
        trap="torch 2.9",
        severity="error",
        seen=f"torch {facts.version} with cuDNN {facts.cudnn or 'unknown'}",
        effect="3D convolutions in mixed precision: 4 to 20 times slower, up to 17 times the memory",
        fix="pip install 'torch>=2.10'"
        if version_numbers(machine.nvidia.driver) >= (CUDA13_DRIVER,)
        else "torch 2.10 or newer for CUDA 12: choose both on PyTorch's install page, run its line",
    )


def torch_without_gpu(machine: Machine) -> Finding | None:
    """A GPU and a driver are there, and torch does not compute on it."""
    facts = machine.torch
    if facts is None or facts.error or facts.gpu or not machine.nvidia.gpus:
        return None
    gpu = machine.nvidia.gpus[0].name
    if not facts.cuda:
        return Finding(
            trap="torch without CUDA",
            severity="warning",
            seen=f"torch {facts.version} is a build for CPUs, and there is {gpu}",
            effect="inference and training run on the processor",
            fix="choose your CUDA on PyTorch's install page, and run the line that it shows",
        )
    return Finding(
        trap="CUDA that torch cannot use",
        severity="error",
        seen=f"torch {facts.version} (CUDA {facts.cuda}) finds no GPU beside {gpu}, driver {machine.nvidia.driver}"
        + (f": {facts.warning}" if facts.warning else ""),
        effect="inference and training run on the processor",
        fix=f"install a driver for CUDA {facts.cuda} or newer; see that CUDA_VISIBLE_DEVICES is not set to hide it",
    )


def ort_without_cuda(machine: Machine) -> Finding | None:
    """ONNX Runtime lists CUDA wherever it was built for it, and quietly runs on the CPU where there is none."""
    facts = machine.ort
    if facts is None or CUDA_PROVIDER not in facts.providers or facts.cuda_session == CUDA_PROVIDER:
        return None
    if not machine.nvidia.gpus:
        fix = "no GPU is here: pip uninstall -y onnxruntime-gpu, then pip install 'ssa-fast[cpu]'"
    elif two_onnxruntimes(machine) is not None:
        fix = "first mend 'two ONNX Runtimes', above"
    else:
        fix = f"driver {CUDA13_DRIVER} or newer, then pip install --force-reinstall 'ssa-fast[gpu]'"
    return Finding(
        trap="CUDA listed, not usable",
        severity="warning",
        seen=f"a session of ONNX Runtime {facts.version} that asked for CUDA runs on {facts.cuda_session or 'nothing'}",
        effect="a program that asks ONNX Runtime for the GPU gets the processor, without an error"
        + ("; the backend 'ort' refuses to start" if machine.has_driver else ""),
        fix=fix,
    )


def tensorrt_11(machine: Machine) -> Finding | None:
    """ONNX Runtime's TensorRT provider links to libnvinfer.so.10."""
    newer = [
        f"{name} {machine.packages[name]}"
        for name in TENSORRT
        if version_numbers(machine.packages.get(name, "")) >= (11,)
    ]
    if not newer or "onnxruntime-gpu" not in machine.packages:
        return None
    return Finding(
        trap="TensorRT 11 with ONNX Runtime",
        severity="warning",
        seen=f"{newer[0]} and onnxruntime-gpu {machine.packages['onnxruntime-gpu']}",
        effect="ONNX Runtime's TensorRT provider wants TensorRT 10 (libnvinfer.so.10) and is left out",
        fix=f"pip install '{newer[0].split()[0]}<11', or do not ask ONNX Runtime for TensorRT",
    )


def tensorrt_without_driver(machine: Machine) -> Finding | None:
    """TensorRT's builder needs a driver."""
    there = [name for name in TENSORRT if name in machine.packages]
    if not there or machine.has_driver:
        return None
    return Finding(
        trap="TensorRT without a driver",
        severity="warning",
        seen=f"{there[0]} {machine.packages[there[0]]} is installed, a driver for NVIDIA GPUs is not loaded",
        effect="its builder fails with 'factory function returned nullptr'",
        fix=f"build on the machine with the GPU; here: pip uninstall -y {there[0]}",
    )
