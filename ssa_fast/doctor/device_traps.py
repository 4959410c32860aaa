"""What is known to go wrong with processors, GPUs and drivers. Each is a pure function of a machine's record."""

from __future__ import annotations

from ssa_fast.doctor.finding import TENSORRT, Finding, version_numbers
from ssa_fast.doctor.machine import Machine, verdict
from ssa_fast.hardware import CUDA13_DRIVER, has_emulated_tensor_cores
from ssa_fast.pretrained import DEFAULT_BUNDLE

__all__ = [
    "apple_gpu",
    "cpu_emulates_bf16",
    "emulated_tensor_cores",
    "gpu_emulates_bf16",
    "old_driver",
    "small_quota",
    "untold_gpus",
    "unused_gpu",
]


def old_driver(machine: Machine) -> Finding | None:
    """CUDA 13 needs a driver of the series 580 or newer."""
    driver = version_numbers(machine.nvidia.driver)
    if not driver or driver[0] >= CUDA13_DRIVER:
        return None
    needs = _cuda13_libraries(machine)
    return Finding(
        trap=f"driver below {CUDA13_DRIVER}",
        severity="error" if needs else "note",
        seen=f"driver {machine.nvidia.driver}" + (f"; built for CUDA 13: {', '.join(needs)}" if needs else ""),
        effect="libraries built for CUDA 13 find no GPU with it" + ("" if needs else "; none of those is installed"),
        fix=f"install NVIDIA's driver {CUDA13_DRIVER} or newer"
        + (", or builds for CUDA 12" if needs else " before 'ssa-fast[gpu]' or 'ssa-fast[trt]'"),
    )


def emulated_tensor_cores(machine: Machine) -> Finding | None:
    """GTX 16xx and their like say capability 7.5, as cards with tensor cores do: only the name tells them apart."""
    names = [gpu.name for gpu in machine.nvidia.gpus if has_emulated_tensor_cores(gpu.name)]
    if not names:
        return None
    return Finding(
        trap="emulated tensor cores",
        severity="warning",
        seen=f"{names[0]} has none (units for fast float16), and claims them",
        effect="float16 is 5 to 20 times slower than float32 in most libraries, and may give NaN",
        fix="none needed: ssa-fast takes float32. In other programs turn mixed precision (AMP) off",
    )


def gpu_emulates_bf16(machine: Machine) -> Finding | None:
    """Torch claims bf16 below capability 8.0."""
    names = [gpu.name for gpu in machine.nvidia.gpus if gpu.capability > (0, 0) and not gpu.has_bf16]
    if not names or machine.torch is None or not machine.torch.gpu:
        return None
    return Finding(
        trap="emulated bf16 (GPU)",
        severity="note",
        seen=f"{names[0]}: bf16 (16-bit numbers) needs capability 8.0",
        effect="torch says that it has bf16, and emulates it slowly",
        fix="none needed: ssa-fast refuses bf16 on it. In other programs do not ask for bfloat16",
    )


def cpu_emulates_bf16(machine: Machine) -> Finding | None:
    """Without instructions of its own, or with some that are no faster than float32's."""
    processor = machine.cpu
    if processor.gains_from_bf16 or not processor.flags or verdict(machine).device != processor.name:
        return None
    if processor.has_bf16:
        effect, fix = "bf16 is no faster than float32 here", "none needed: --precision auto takes float32"
    else:
        effect, fix = "what takes bf16 (16-bit numbers) all the same is slower", "none needed: ssa-fast refuses it here"
    has = "has bf16 instructions but no AMX" if processor.has_bf16 else "has no bf16 instructions"
    return Finding(
        trap="emulated bf16 (processor)", severity="note", seen=f"{processor.name} {has}", effect=effect, fix=fix
    )


def small_quota(machine: Machine) -> Finding | None:
    """A container's share of time is no number of cores: engines that count cores start too many threads."""
    processor = machine.cpu
    if processor.quota is None or processor.quota >= processor.logical_cores:
        return None
    threads = processor.threads
    return Finding(
        trap="fewer cores granted than shown",
        severity="warning",
        seen=f"{processor.logical_cores} are shown, the container's cgroup grants {processor.quota:g}",
        effect="torch starts a thread for each core that it sees, and they wait for each other",
        fix=f"export OMP_NUM_THREADS={threads} before you start ssa-fast, or grant the container more",
    )


def untold_gpus(machine: Machine) -> Finding | None:
    """A driver is there, and nothing that tells of its GPUs."""
    if not machine.has_driver or machine.nvidia.gpus or machine.nvidia.told_by in ("NVML", "nvidia-smi"):
        return None
    return Finding(
        trap="a driver that tells nothing",
        severity="warning",
        seen=f"driver {machine.nvidia.driver}; {machine.nvidia.told_by}",
        effect="GPUs, their memory and use are not shown; after an update of the driver they may not work either",
        fix="pip install nvidia-ml-py; if it is there, restart the computer",
    )


def unused_gpu(machine: Machine) -> Finding | None:
    """Bundles run on a GPU by torch and by ONNX Runtime's build for CUDA, engines by TensorRT."""
    if machine.torch is not None or "ort" in machine.gpus_of_backends or not machine.nvidia.gpus:
        return None
    gpu, is_new = machine.nvidia.gpus[0].name, version_numbers(machine.nvidia.driver) >= (CUDA13_DRIVER,)
    tensorrt = [f"{name} {machine.packages[name]}" for name in TENSORRT if name in machine.packages]
    if tensorrt:
        return Finding(
            trap="a GPU that only engines use",
            severity="note",
            seen=f"{gpu} and {tensorrt[0]}, and torch is not installed",
            effect="TensorRT runs engines there; a bundle runs on the processor",
            fix=("" if is_new else f"update the driver to {CUDA13_DRIVER}; ")
            + f"build an engine, 'ssa-fast export {DEFAULT_BUNDLE} --backend trt --profile PROFILE --cases CASES', and "
            "give infer its folder as --bundle",
        )
    return Finding(
        trap="a GPU that nothing uses",
        severity="warning",
        seen=f"{gpu}, and neither torch nor TensorRT is installed, nor an ONNX Runtime that computes on it",
        effect="inference runs on the processor: bundles run on a GPU by torch or onnxruntime-gpu, engines by TensorRT",
        fix="pip install 'ssa-fast[torch]' for bundles (or, without onnxruntime, 'ssa-fast[gpu]'), or "
        "'ssa-fast[trt,export]' to build engines"
        if is_new
        else f"update the driver to {CUDA13_DRIVER}, then pip install 'ssa-fast[torch]'; or torch for CUDA 12 "
        "by PyTorch's install page",
    )


def apple_gpu(machine: Machine) -> Finding | None:
    """A Mac's GPU is used by no backend."""
    if (machine.system, machine.architecture) != ("Darwin", "arm64"):
        return None
    return Finding(
        trap="Apple's GPU is not used",
        severity="note",
        seen=f"{machine.cpu.name}",
        effect="all backends run on the processor",
        fix="none needed",
    )


def _cuda13_libraries(machine: Machine) -> list[str]:
    found = []
    if machine.torch is not None and version_numbers(machine.torch.cuda)[:1] == (13,):
        found.append(f"torch {machine.torch.version}")
    for package, least in (("onnxruntime-gpu", (1, 28)), ("tensorrt-cu13", (0,)), ("nvidia-cuda-runtime", (13,))):
        if version_numbers(machine.packages.get(package, "")) >= least:
            found.append(f"{package} {machine.packages[package]}")
    return found
