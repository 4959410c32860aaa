"""Windows to a GPU and answers back, through pinned memory and beside its work. Never run on a GPU yet.

Only from pinned memory does a copy run beside the host and the GPU's own work: CUDA's rule, as torch's notes on CUDA
semantics tell it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, cuda

from ssa_fast.volume.geometry import FloatArray

__all__ = ["Copies"]

_LANES = 2  # of pinned memory for windows: one is filled while the other is copied from


class Copies:
    """Pinned memory that is used again from call to call, and a stream for each direction."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._in, self._out = cuda.Stream(device), cuda.Stream(device)
        self._pinned: dict[tuple[str, int], Tensor] = {}  # flat, by what it is for

    def through(self, windows: FloatArray, run: Callable[[Tensor], Sequence[Tensor]]) -> list[npt.NDArray[Any]]:
        """What `run` makes of each window (1, C, X, Y, Z) on the GPU, on the host, a window a row.

        The copy of a window to the GPU, and that of the answers to the last one back, run beside the work on the
        present one. The arrays are overwritten by the next call.
        """
        here = cuda.current_stream(self._device)
        answers: list[Tensor] = []
        arrived: dict[int, cuda.Event] = {}  # of each lane's last window
        in_use: list[object] = []  # by streams: not to be freed before all is done
        try:
            batch = self._send(windows[:1], 0, arrived)
            for place in range(len(windows)):
                here.wait_event(arrived[place % _LANES])
                made = run(batch)
                in_use.append((batch, made))
                answers = answers or [self._answer(index, len(windows), one) for index, one in enumerate(made)]
                self._fetch(made, [answer[place : place + 1] for answer in answers], here)
                if place + 1 < len(windows):
                    batch = self._send(windows[place + 1 : place + 2], place + 1, arrived)
        finally:
            cuda.synchronize(self._device)
        return [answer.numpy() for answer in answers]

    def let_go(self) -> None:
        """Give the pinned memory back."""
        self._pinned.clear()

    def _send(self, window: FloatArray, place: int, arrived: dict[int, cuda.Event]) -> Tensor:
        """The window on the GPU, as soon as its lane's event in `arrived` has come to pass."""
        lane = place % _LANES
        if lane in arrived:
            arrived[lane].synchronize()  # the lane's last window has left it
        staged = self._staged(("windows", lane), window.shape, torch.float32)
        staged.copy_(torch.from_numpy(window))
        with cuda.stream(self._in):  # its memory, too, is this stream's: no work of another may still be in it
            batch = torch.empty(window.shape, device=self._device)
            _copy(batch, staged)
            arrived[lane] = cuda.Event()
            arrived[lane].record(self._in)
        return batch

    def _fetch(self, made: Sequence[Tensor], into: Sequence[Tensor], here: cuda.Stream) -> None:
        """Put the copies of what is made by now on their way."""
        is_made = cuda.Event()
        is_made.record(here)
        self._out.wait_event(is_made)
        with cuda.stream(self._out):
            for answer, one in zip(into, made, strict=True):
                _copy(answer, one)

    def _answer(self, index: int, windows: int, of_one: Tensor) -> Tensor:
        return self._staged((f"answers in {of_one.dtype}", index), (windows, *of_one.shape[1:]), of_one.dtype)

    def _staged(self, key: tuple[str, int], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Pinned memory of a shape, cut from what is there for `key`, which grows if need be."""
        values = math.prod(shape)
        if key not in self._pinned or self._pinned[key].numel() < values:
            self._pinned.pop(key, None)
            self._pinned[key] = _pinned(values, dtype)
        return self._pinned[key][:values].view(shape)


def _pinned(values: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(values, dtype=dtype, pin_memory=True)


def _copy(target: Tensor, source: Tensor) -> None:
    """Put the copy into the present stream; the host does not wait for it."""
    target.copy_(source, non_blocking=True)
