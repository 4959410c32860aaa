"""All that is known of a machine, in one record that can be written down and read back."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ssa_fast import hardware
from ssa_fast.backends import available_backends, preferred_backend
from ssa_fast.backends.base import Precision
from ssa_fast.backends.probe import OrtFacts, TorchFacts, installed_packages, probe_onnxruntime, probe_torch
from ssa_fast.config import from_mapping
from ssa_fast.errors import BackendUnavailable, ConfigError
from ssa_fast.hardware import Cpu, Gpus

__all__ = ["Machine", "Verdict", "gather_machine", "read_machine", "verdict"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Facts alone, no judgment. Holds no name of a person, computer or folder, so it may be sent to others."""

    system: str  # operating system, such as Linux, Windows or Darwin (a Mac)
    architecture: str  # such as x86_64 or arm64
    python: str
    cpu: Cpu
    memory_bytes: int | None
    usable_bytes: int | None  # that a process could take when it was asked
    nvidia: Gpus
    packages: Mapping[str, str]  # version by name
    backends: tuple[str, ...]  # whose library is installed, the fastest on a CPU first
    torch: TorchFacts | None = None  # None: not installed
    ort: OrtFacts | None = None

    @property
    def has_driver(self) -> bool:
        """Whether a driver for NVIDIA GPUs is there."""
        return bool(self.nvidia.driver)

    @property
    def gpus_of_backends(self) -> dict[str, str]:
        """The GPU that a backend computes on, by the backend's name; the others take the processor."""
        told = {"torch": self.torch.gpu if self.torch else "", "ort": self.ort.gpu if self.ort else ""}
        return {name: gpu for name, gpu in told.items() if gpu and self.has_driver}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What `infer` takes on a machine by itself."""

    backend: str  # empty: none can be had
    precision: Precision | None
    device: str  # processor or GPU, in words
    reason: str  # of the backend
    precision_reason: str = ""


def gather_machine() -> Machine:
    """This machine. Imports torch and ONNX Runtime where they are installed, which takes seconds."""
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        python=platform.python_version(),
        cpu=hardware.cpu(),
        memory_bytes=hardware.total_memory_bytes(),
        usable_bytes=hardware.usable_memory_bytes(),
        nvidia=hardware.find_gpus(),
        packages=installed_packages(),
        backends=available_backends(),
        torch=probe_torch(),
        ort=probe_onnxruntime(),
    )


def read_machine(path: Path) -> Machine:
    """The machine in a file that `ssa-fast doctor --json` wrote, or in one of its `machine` alone.

    Raises ConfigError if the file cannot be read or holds something else.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not JSON ({error}): make it with 'ssa-fast doctor --json > FILE'") from error
    if isinstance(table, dict) and "machine" in table:
        table = table["machine"]
    return from_mapping(Machine, table, where=str(path))


def verdict(machine: Machine) -> Verdict:
    """By the same rules as `choose_backend` and the backends themselves."""
    try:
        backend, reason = preferred_backend(machine.backends, machine.gpus_of_backends)
    except BackendUnavailable as error:
        return Verdict(backend="", precision=None, device="", reason=str(error))
    gpu = machine.gpus_of_backends.get(backend, "")
    if backend == "torch" and machine.torch is not None and gpu:
        device, gains = gpu, machine.torch.capability >= (8, 0)
        why = "it has instructions for it" if gains else "bf16 would be emulated by it"
    elif backend == "ort":
        device, gains, why = gpu or machine.cpu.name, False, "this backend has no other precision"
    else:
        device, gains = machine.cpu.name, machine.cpu.gains_from_bf16
        why = "it is faster so than in float32" if gains else "it would not gain from bf16"
    precision: Precision = "bf16" if gains else "float32"
    return Verdict(backend=backend, precision=precision, device=device, reason=reason, precision_reason=why)
