"""The most arithmetic that a device was seen to do: what a network's pace is a share of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache

import torch
from torch.nn import functional

from ssa_fast import hardware
from ssa_fast.model.roofline import Ceiling

__all__ = ["measured_bandwidth", "measured_ceiling", "measured_peak"]

_SECONDS = 0.2  # a yardstick, beyond its first call
_CHANNELS, _EDGE = 64, 32  # of the convolution: 7.2 GFLOP
_COPIED_BYTES = 2**28  # no cache holds it


@lru_cache
def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second, of the better of two yardsticks at their best; measured once a process.

    A matrix product is the fastest thing that a GPU has; on a CPU a 3x3x3 convolution, the network's own arithmetic,
    may be ahead of it: 120 against 98 GFLOP/s in float32 (an AMD EPYC, two threads, torch 2.13). So either alone
    would let a good network exceed its peak on some machine. Takes about half a second and at most 50 MB.
    """
    return max(_product(device, dtype), _convolution(device, dtype))


@lru_cache
def measured_bandwidth(device: torch.device) -> float:
    """Bytes a second that a device reads and writes while it copies 256 MiB, at its best; measured once a process."""
    source = torch.ones(_COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * _COPIED_BYTES / _best_seconds(lambda: target.copy_(source), device)


def measured_ceiling() -> Ceiling:
    """What the device that torch computes on was seen to do at most, in each precision that it has instructions for."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        name, dtypes = torch.cuda.get_device_name(), {"float32": torch.float32, "float16": torch.float16}
        # float32 means float32: TF32 keeps 10 bits of a factor
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        has_bf16, threads = torch.cuda.get_device_capability() >= (8, 0), ""
    else:
        name, dtypes = hardware.cpu().name, {"float32": torch.float32}
        has_bf16, threads = hardware.cpu().has_bf16, f" on {torch.get_num_threads()} thread(s)"
    if has_bf16:
        dtypes["bf16"] = torch.bfloat16
    return Ceiling(
        device=name,
        peaks={precision: measured_peak(device, dtype) for precision, dtype in dtypes.items()},
        bandwidth=measured_bandwidth(device),
        source=f"measured now by torch {torch.__version__}{threads}: the better of a matrix product and a 3x3x3 "
        "convolution; memory by a copy of 256 MiB, read and written",
    )


@torch.no_grad()
def _product(device: torch.device, dtype: torch.dtype) -> float:
    edge = 2048 if device.type == "cuda" else 1024
    one, other = _random((edge, edge), device, dtype), _random((edge, edge), device, dtype)
    return 2 * edge**3 / _best_seconds(lambda: one @ other, device)


@torch.no_grad()
def _convolution(device: torch.device, dtype: torch.dtype) -> float:
    windows = _random((1, _CHANNELS, _EDGE, _EDGE, _EDGE), device, dtype)
    weights = _random((_CHANNELS, _CHANNELS, 3, 3, 3), device, dtype)
    if device.type == "cpu" or dtype != torch.float32:  # as `placement` lays out a network
        windows = windows.contiguous(memory_format=torch.channels_last_3d)
        weights = weights.contiguous(memory_format=torch.channels_last_3d)
    work = 2 * 27 * _CHANNELS**2 * _EDGE**3
    return work / _best_seconds(lambda: functional.conv3d(windows, weights, padding=1), device)


def _random(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator(device).manual_seed(0)  # its own: training draws from the global one
    return torch.randn(shape, generator=generator, device=device).to(dtype)  # not zeros: those are multiplied faster


def _best_seconds(work: Callable[[], torch.Tensor], device: torch.device) -> float:
    """Of one call: a GPU is given twenty before it is waited for, so that beginning them is not counted."""
    calls = 20 if device.type == "cuda" else 1
    work()  # chooses kernels, fills caches
    best, end = math.inf, time.perf_counter() + _SECONDS
    while best == math.inf or time.perf_counter() < end:
        _wait(device)
        start = time.perf_counter()
        for _ in range(calls):
            work()
        _wait(device)
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
