"""What this machine has, what its devices are known to get wrong, and what known cards can do at most."""

from __future__ import annotations

from ssa_fast.hardware.cards import CARDS, Card, card_of
from ssa_fast.hardware.gpus import (
    CUDA13_DRIVER,
    Gpu,
    Gpus,
    find_gpus,
    has_emulated_tensor_cores,
    has_nvidia_driver,
    nvidia_driver_version,
    open_nvml,
)
from ssa_fast.hardware.heap import give_heap_back, keep_freed_memory, keep_heap_small
from ssa_fast.hardware.memory import total_memory_bytes, usable_memory_bytes
from ssa_fast.hardware.processor import Cpu, cpu

__all__ = [
    "CARDS",
    "CUDA13_DRIVER",
    "Card",
    "Cpu",
    "Gpu",
    "Gpus",
    "card_of",
    "cpu",
    "find_gpus",
    "give_heap_back",
    "has_emulated_tensor_cores",
    "has_nvidia_driver",
    "keep_freed_memory",
    "keep_heap_small",
    "nvidia_driver_version",
    "open_nvml",
    "total_memory_bytes",
    "usable_memory_bytes",
]
