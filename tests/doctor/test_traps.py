"""Every trap is seen to fire on a machine that is in it, and not to fire on one that is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from ssa_fast.backends.probe import CUDA_PROVIDER
from ssa_fast.doctor.finding import Finding, version_numbers
from ssa_fast.doctor.machine import Machine
from ssa_fast.doctor.traps import TRAPS, find_traps
from ssa_fast.hardware import Gpu, Gpus
from tests.doctor.records import recorded

HEALTHY = ("a100", "epyc")


def fires(trap: str, machine: Machine) -> Finding | None:
    [known] = [function for function in TRAPS if function.__name__ == trap]
    return known(machine)


def changed(name: str, **changes: Any) -> Machine:
    """A recorded machine in another state: `torch`, `ort`, `cpu` and `nvidia` take changes of their own fields."""
    machine = recorded(name)
    for field in ("torch", "ort", "cpu", "nvidia"):
        if isinstance(changes.get(field), dict):
            changes[field] = dataclasses.replace(getattr(machine, field), **changes[field])
    return dataclasses.replace(machine, **changes)


def with_packages(name: str, **versions: str) -> Machine:
    more = {package.replace("_", "-"): version for package, version in versions.items()}
    return dataclasses.replace(recorded(name), packages={**recorded(name).packages, **more})


NO_GPU_FOUND = {"gpu": "", "capability": (0, 0), "warning": "The NVIDIA driver on your system is too old"}
OLD_DRIVER = {"driver": "550.54.14", "cuda": "12.4"}

# trap: what fires it, and a word of its evidence and of its fix
FIRING: dict[str, tuple[Callable[[], Machine], str, str]] = {
    "no_engine": (lambda: changed("epyc", backends=()), "openvino, torch nor onnxruntime", "ssa-fast[openvino]"),
    "two_onnxruntimes": (lambda: recorded("gtx1650"), "onnxruntime-gpu 1.23.2", "pip uninstall -y onnxruntime"),
    "broken_engine": (
        lambda: changed("a100", torch={"error": "libcudnn.so.9: cannot open shared object file"}),
        "torch: libcudnn.so.9: cannot open",
        "--force-reinstall torch",
    ),
    "torch_2_9": (
        lambda: recorded("gtx1650"),
        "torch 2.9.0+cu126 with cuDNN 9.10.2",
        "torch 2.10 or newer for CUDA 12",
    ),
    "old_driver": (lambda: recorded("gtx1650"), "550.54.14", "driver 580 or newer"),
    "torch_without_gpu": (lambda: changed("a100", torch=NO_GPU_FOUND), "driver on your system is too old", "CUDA 13.0"),
    "ort_without_cuda": (
        lambda: recorded("cpu_laptop"),
        "asked for CUDA runs on CPUExec",
        "uninstall -y onnxruntime-gpu",
    ),
    "emulated_tensor_cores": (lambda: recorded("gtx1650"), "GTX 1650", "takes float32"),
    "gpu_emulates_bf16": (lambda: recorded("t4"), "Tesla T4", "refuses bf16"),
    "cpu_emulates_bf16": (lambda: recorded("cpu_laptop"), "i5-8250U", "refuses it here"),
    "tensorrt_11": (lambda: recorded("t4"), "tensorrt-cu13 11.1.0.106", "tensorrt-cu13<11"),
    "tensorrt_without_driver": (lambda: recorded("cpu_laptop"), "10.16.1.11", "uninstall -y tensorrt"),
    "small_quota": (lambda: recorded("container"), "224 are shown", "OMP_NUM_THREADS=4"),
    "untold_gpus": (
        lambda: changed(
            "a100", nvidia={"gpus": (), "told_by": "Driver/library version mismatch; nvidia-smi: the same"}
        ),
        "version mismatch",
        "restart",
    ),
    "unused_gpu": (
        lambda: changed("a100", torch=None, backends=("ort",)),
        "neither torch nor TensorRT is installed",
        "ssa-fast[torch]",
    ),
    "apple_gpu": (lambda: recorded("mac"), "Apple M2", "none needed"),
}


def test_every_trap_has_a_machine_that_fires_it() -> None:
    assert sorted(FIRING) == sorted(trap.__name__ for trap in TRAPS)


@pytest.mark.parametrize("trap", FIRING)
def test_a_trap_fires_with_its_evidence_and_its_fix(trap: str) -> None:
    machine, evidence, fix = FIRING[trap]
    finding = fires(trap, machine())
    assert finding is not None
    assert evidence in finding.seen
    assert fix in finding.fix
    assert finding.effect
    assert finding in find_traps(machine())


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("trap", FIRING)
def test_no_trap_fires_on_a_healthy_machine(trap: str, name: str) -> None:
    assert fires(trap, recorded(name)) is None


@pytest.mark.parametrize(
    ("name", "traps"),
    [
        (
            "gtx1650",
            {
                *("two ONNX Runtimes", "torch 2.9", "CUDA listed, not usable", "emulated tensor cores"),
                *("driver below 580", "emulated bf16 (GPU)"),
            },
        ),
        ("gtx1650_wsl", {"emulated tensor cores", "driver below 580", "emulated bf16 (GPU)"}),
        ("t4", {"TensorRT 11 with ONNX Runtime", "emulated bf16 (GPU)"}),
        ("a100", set()),
        ("cpu_laptop", {"CUDA listed, not usable", "TensorRT without a driver", "emulated bf16 (processor)"}),
        ("mac", {"Apple's GPU is not used"}),
        ("container", {"fewer cores granted than shown"}),
        ("epyc", set()),
    ],
)
def test_a_recorded_machine_is_in_these_traps_and_no_other(name: str, traps: set[str]) -> None:
    found = find_traps(recorded(name))
    assert {finding.trap for finding in found} == traps
    severities = [("error", "warning", "note").index(finding.severity) for finding in found]
    assert severities == sorted(severities)


@pytest.mark.parametrize(
    ("version", "cudnn", "is_trap"),
    [
        ("2.9.0+cu128", "9.15.1", True),
        ("2.9.1+cu128", "9.10.2", True),
        ("2.9.1+cu128", "9.15.0", False),
        ("2.9.1+cu128", "", True),
        ("2.8.0+cu128", "9.10.2", False),
        ("2.10.0+cu128", "9.10.2", False),
    ],
)
def test_torch_2_9_is_a_trap_unless_it_is_2_9_1_with_a_newer_cudnn(version: str, cudnn: str, is_trap: bool) -> None:
    machine = changed("a100", torch={"version": version, "cudnn": cudnn})
    assert (fires("torch_2_9", machine) is not None) is is_trap
    on_cpus = changed("a100", torch={"version": version, "cudnn": cudnn, "cuda": ""})
    assert fires("torch_2_9", on_cpus) is None


@pytest.mark.parametrize(
    ("machine", "severity"),
    [
        (lambda: changed("a100", nvidia=OLD_DRIVER), "error"),  # torch is built for CUDA 13
        (lambda: recorded("gtx1650"), "note"),
        (lambda: recorded("gtx1650_wsl"), "note"),
        # github.com/ollama/ollama/issues/12770: a T4 on EC2 with such a driver was quietly not used any more
        (lambda: changed("t4", nvidia={"driver": "515.105.01", "cuda": "11.7"}), "error"),
        (lambda: with_packages("gtx1650", tensorrt_cu13="10.16.1.11"), "error"),
        (lambda: with_packages("gtx1650", onnxruntime_gpu="1.28.0"), "error"),
        (lambda: with_packages("gtx1650", nvidia_cuda_runtime="13.0.96"), "error"),
        (lambda: changed("a100", nvidia={"driver": "unknown"}), None),
        (lambda: changed("a100", nvidia={"driver": "579.99"}), "error"),
        (lambda: changed("a100", nvidia={"driver": "580.00"}), None),
    ],
)
def test_an_old_driver_is_an_error_where_something_needs_a_new_one(
    machine: Callable[[], Machine], severity: str | None
) -> None:
    finding = fires("old_driver", machine())
    assert (finding.severity if finding else None) == severity


def test_a_build_of_torch_for_cpus_beside_a_gpu_is_another_thing_than_cuda_that_fails() -> None:
    for_cpus = fires("torch_without_gpu", changed("a100", torch={**NO_GPU_FOUND, "cuda": "", "version": "2.13.0+cpu"}))
    fails = fires("torch_without_gpu", changed("a100", torch=NO_GPU_FOUND))
    assert for_cpus is not None
    assert fails is not None
    assert (for_cpus.severity, fails.severity) == ("warning", "error")
    assert "a build for CPUs" in for_cpus.seen
    assert (
        fires("torch_without_gpu", changed("a100", torch={**NO_GPU_FOUND, "error": "broken"})) is None
    )  # said elsewhere


def test_a_quiet_move_to_the_processor_beside_a_gpu_is_mended_by_driver_and_libraries() -> None:
    finding = fires("ort_without_cuda", changed("t4", ort={"cuda_session": "CPUExecutionProvider"}))
    assert finding is not None
    assert "driver 580 or newer" in finding.fix
    assert fires("ort_without_cuda", recorded("t4")) is None


def test_an_intel_processor_whose_bf16_is_no_faster_is_told_so() -> None:
    flags = frozenset({"avx2", "avx512f", "avx512_bf16"})
    finding = fires("cpu_emulates_bf16", changed("epyc", cpu={"name": "Intel Xeon", "flags": flags}))
    assert finding is not None
    assert "no AMX" in finding.seen
    assert fires("cpu_emulates_bf16", changed("epyc", cpu={"name": "AMD EPYC", "flags": flags})) is None


@pytest.mark.parametrize("quota", [None, 224.0, 300.0])
def test_a_quota_that_leaves_every_core_is_no_trap(quota: float | None) -> None:
    assert fires("small_quota", changed("container", cpu={"quota": quota})) is None


@pytest.mark.parametrize("package", ["tensorrt", "tensorrt_cu12", "tensorrt_cu13"])
def test_a_gpu_beside_tensorrt_is_used_by_engines_and_a_bundle_needs_one_built(package: str) -> None:
    machine = dataclasses.replace(with_packages("a100", **{package: "10.16.1.11"}), torch=None, backends=("ort",))
    finding = fires("unused_gpu", machine)
    assert finding is not None
    assert (finding.trap, finding.severity) == ("a GPU that only engines use", "note")
    assert f"{package.replace('_', '-')} 10.16.1.11" in finding.seen
    assert "--backend trt" in finding.fix
    assert "update the driver" not in finding.fix
    old = fires("unused_gpu", dataclasses.replace(machine, nvidia=dataclasses.replace(machine.nvidia, driver="550.54")))
    assert old is not None
    assert old.fix.startswith("update the driver to 580; build an engine")


def test_a_gpu_that_only_onnxruntime_computes_on_is_used() -> None:
    machine = changed("a100", torch=None, backends=("ort",))
    assert fires("unused_gpu", machine) is not None
    listed = {"providers": (CUDA_PROVIDER, "CPUExecutionProvider"), "cuda_session": CUDA_PROVIDER}
    assert machine.ort is not None
    nameless = dataclasses.replace(machine, ort=dataclasses.replace(machine.ort, **listed))  # cuda-python is missing
    assert fires("unused_gpu", nameless) is not None
    used = dataclasses.replace(machine, ort=dataclasses.replace(machine.ort, **listed, gpu="NVIDIA A100-SXM4-80GB"))
    assert fires("unused_gpu", used) is None


def test_tensorrt_10_or_no_onnxruntime_beside_it_is_no_trap() -> None:
    assert fires("tensorrt_11", with_packages("t4", tensorrt_cu13="10.16.1.11")) is None
    assert fires("tensorrt_11", with_packages("mac", tensorrt_cu13="11.1.0.106")) is None


def with_gpu(name: str, capability: tuple[int, int]) -> Machine:
    gpu = Gpu(name=name, capability=capability, memory_bytes=2**32, free_bytes=2**32)
    return changed("gtx1650", nvidia=Gpus(gpus=(gpu,), driver="550.54.14", told_by="nvidia-smi"))


@pytest.mark.parametrize(
    "name",
    [
        *("GTX 1660", "GTX 1660 Ti", "GTX 1660 SUPER", "GTX 1650", "GTX 1650 SUPER", "GTX 1650 with Max-Q Design"),
        *("GTX 1630", "MX450", "MX550", "T400", "T500", "T550 Laptop GPU", "T600", "T1000", "T1200 Laptop GPU"),
        *("T2000", "CMP 30HX"),
    ],
)
@pytest.mark.parametrize("capability", [(7, 5), (0, 0)], ids=["capability told", "not told"])
def test_every_card_without_tensor_cores_that_claims_them_is_a_trap_by_its_name(
    name: str, capability: tuple[int, int]
) -> None:
    finding = fires("emulated_tensor_cores", with_gpu(f"NVIDIA GeForce {name}", capability))
    assert finding is not None
    assert name in finding.seen
    assert "takes float32" in finding.fix


@pytest.mark.parametrize("name", ["Tesla T4", "Quadro RTX 4000", "NVIDIA GeForce RTX 2060", "NVIDIA TITAN RTX"])
def test_a_card_of_the_same_capability_with_tensor_cores_is_none(name: str) -> None:
    assert fires("emulated_tensor_cores", with_gpu(name, (7, 5))) is None


def test_a_gpu_of_unknown_capability_gets_no_verdict_on_bf16() -> None:
    assert fires("gpu_emulates_bf16", with_gpu("NVIDIA GeForce GTX 1650", (0, 0))) is None
    assert fires("gpu_emulates_bf16", with_gpu("NVIDIA GeForce GTX 1650", (7, 5))) is not None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.9.1+cu126", (2, 9, 1)), ("550.54.14", (550, 54, 14)), ("unknown", ()), ("", ()), ("2.11.0a0", (2, 11, 0))],
)
def test_a_version_is_read_up_to_its_first_letter(text: str, numbers: tuple[int, ...]) -> None:
    assert version_numbers(text) == numbers
