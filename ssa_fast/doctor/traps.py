"""Every trap that is known, and which of them a machine is in."""

from __future__ import annotations

from collections.abc import Callable

from ssa_fast.doctor import device_traps, library_traps
from ssa_fast.doctor.finding import Finding
from ssa_fast.doctor.machine import Machine

__all__ = ["TRAPS", "find_traps"]

_ORDER = ("error", "warning", "note")

TRAPS: tuple[Callable[[Machine], Finding | None], ...] = (
    library_traps.no_engine,
    library_traps.two_onnxruntimes,
    library_traps.broken_engine,
    library_traps.torch_2_9,
    library_traps.torch_without_gpu,
    library_traps.ort_without_cuda,
    library_traps.tensorrt_11,
    library_traps.tensorrt_without_driver,
    device_traps.old_driver,
    device_traps.emulated_tensor_cores,
    device_traps.gpu_emulates_bf16,
    device_traps.cpu_emulates_bf16,
    device_traps.small_quota,
    device_traps.untold_gpus,
    device_traps.unused_gpu,
    device_traps.apple_gpu,
)


def find_traps(machine: Machine) -> tuple[Finding, ...]:
    """All that applies to a machine, the worst first."""
    found = [finding for trap in TRAPS if (finding := trap(machine)) is not None]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))
