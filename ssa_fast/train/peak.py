"""The most arithmetic that a device was seen to do: what a network's pace is a share of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache

import torch
from torch.nn import functional

__all__ = ["measured_peak"]

_SECONDS = 0.2  # a yardstick, beyond its first call
_CHANNELS, _EDGE = 64, 32  # of the convolution: 7.2 GFLOP


@lru_cache
def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second, of the better of two yardsticks at their best; measured once a process.

    A matrix product is the fastest thing that a GPU has; on a CPU a 3x3x3 convolution, the network's own arithmetic,
    may be ahead of it: 120 against 98 GFLOP/s in float32 (an AMD EPYC, two threads, torch 2.13). So either alone
    would let a good network exceed its peak on some machine. Takes about half a second and at most 50 MB.
    """
    return max(_product(device, dtype), _convolution(device, dtype))


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
