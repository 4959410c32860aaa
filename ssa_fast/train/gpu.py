"""How busy an NVIDIA GPU is and how much of its memory is taken, as its driver tells (NVML)."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import torch

from ssa_fast import hardware
from ssa_fast.errors import BackendUnavailable

__all__ = ["GpuSample", "GpuWatch", "open_gpu_watch"]

_log = logging.getLogger(__name__)
_INTERVAL_S = 0.5  # the driver itself averages over a sixth of a second to a second


@dataclass(frozen=True, kw_only=True)
class GpuSample:
    """One look at a GPU."""

    utilization: float  # share of the driver's last interval in which it computed anything
    memory_bytes: int  # taken by all that runs there, the driver's own included


class GpuWatch:
    """Looks at a GPU twice a second, in a thread, until it is closed or the driver tells no more."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        """`nvml` is the module pynvml, begun; closing the watch ends it."""
        self._nvml, self._handle = nvml, handle
        self._samples: list[GpuSample] = []
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-watch", daemon=True)
        self._thread.start()

    def take(self) -> list[GpuSample]:
        """The samples since they were last taken."""
        with self._lock:
            samples, self._samples = self._samples, []
        return samples

    def close(self) -> None:
        """End the thread, and NVML."""
        self._ended.set()
        self._thread.join()
        self._nvml.nvmlShutdown()

    def _run(self) -> None:
        try:
            while not self._ended.wait(_INTERVAL_S):
                sample = _sample(self._nvml, self._handle)
                with self._lock:
                    self._samples.append(sample)
        except self._nvml.NVMLError as error:
            _log.debug("the GPU's use is shown no more: %s", error)


def open_gpu_watch(device: torch.device) -> GpuWatch | None:
    """What watches the GPU `device`, or None where it is none of NVIDIA's, or nvidia-ml-py or the driver tells nothing.

    Nobody trains worse without it, so its absence is a line of the debug log and no error.
    """
    if device.type != "cuda":
        return None
    try:
        nvml = hardware.open_nvml()
    except BackendUnavailable as error:
        _log.debug("the GPU's use is not shown: %s", error)
        return None
    try:
        # not by its number: CUDA_VISIBLE_DEVICES makes torch count otherwise than the driver
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        _sample(nvml, handle)  # a part of a GPU (MIG) has no utilization: known now
    except nvml.NVMLError as error:
        _log.debug("the GPU's use is not shown: %s", error)
        nvml.nvmlShutdown()
        return None
    return GpuWatch(nvml, handle)


def _sample(nvml: Any, handle: Any) -> GpuSample:
    return GpuSample(
        utilization=nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
        memory_bytes=nvml.nvmlDeviceGetMemoryInfo(handle).used,
    )
