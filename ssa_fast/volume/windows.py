"""A volume cut into overlapping windows, and what a network makes of them blended back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, reduce

import numpy as np

from ssa_fast.errors import ShapeError
from ssa_fast.volume.geometry import BoolArray, Box, FloatArray

__all__ = ["blended_slabs", "gaussian_weights", "window_boxes", "window_starts"]

_SIGMA = 1 / 8  # of a window's edge


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """Start of each window along one axis, in voxels, ascending.

    Windows are spread evenly and the last one ends at the border. Neighbours share at least `overlap` of a window, to
    within one voxel: size=110, window=64, overlap=0.5 -> [0, 23, 46].

    Raises ShapeError if the window is wider than the axis, or if `overlap` is not in [0, 1).
    Source: the step rule of nnU-Net (Isensee et al., Nature Methods 2021).
    """
    if not 1 <= window <= size:
        raise ShapeError(f"window of {window} voxels on an axis of {size}: pad the volume first")
    if not 0 <= overlap < 1:
        raise ShapeError(f"overlap must be in [0, 1), got {overlap}")
    free = size - window
    stride = max(1.0, window * (1 - overlap))  # below one voxel, windows would repeat
    gaps = math.ceil(free / stride)
    return [round(free * place / gaps) for place in range(gaps + 1)] if gaps else [0]


def window_boxes(shape: Sequence[int], window: Sequence[int], overlap: float) -> list[Box]:
    """The boxes of all windows over a (X, Y, Z) volume, X slowest. Raises ShapeError like `window_starts`."""
    starts = (window_starts(size, edge, overlap) for size, edge in zip(shape, window, strict=True))
    return [Box((x, y, z), (x + window[0], y + window[1], z + window[2])) for x, y, z in itertools.product(*starts)]


@lru_cache(maxsize=8)
def gaussian_weights(window: tuple[int, int, int]) -> FloatArray:
    """How much each voxel of a window counts (X, Y, Z): 1 in the middle, falling to 4e-11 in the corners.

    Read-only: all who ask share it. Source: the importance map of nnU-Net, sigma an eighth of an edge.
    """
    lines = [np.exp(-0.5 * ((np.arange(edge) - (edge - 1) / 2) / (edge * _SIGMA)) ** 2) for edge in window]
    weights: FloatArray = reduce(np.multiply.outer, lines).astype(np.float32)
    weights.flags.writeable = False
    return weights


def blended_slabs(
    volume: FloatArray,
    boxes: Sequence[Box],
    logits_of: Callable[[FloatArray], FloatArray],
    *,
    foreground: BoolArray,
    batch: int = 1,
) -> Iterator[tuple[int, FloatArray]]:
    """Slabs of a volume's logits, each as soon as no window adds to it: (first x, (K, width, Y, Z)).

    `volume` is (C, X, Y, Z), `boxes` of one shape come as `window_boxes` orders them, `foreground` (X, Y, Z) is where
    the brain is. `logits_of` takes (N, C, x, y, z) with N up to `batch` and gives (N, K, x, y, z). Each window counts
    by `gaussian_weights`. Windows without brain are passed by; where nothing else lies, logits are 0.

    What is held at once is one window wide along X, however many windows overlap.
    """
    window = boxes[0].shape
    weights = gaussian_weights(window)
    rows = itertools.groupby(boxes, key=lambda box: box.start[0])
    total: FloatArray | None = None  # (K, window x, Y, Z), of the x from `first`
    sums: FloatArray = np.zeros((window[0], *volume.shape[2:]), dtype=np.float32)
    first = 0
    for start, row in rows:
        if start > first:
            yield from _finished(total, sums, first, start - first)
            first = start
        wanted = [box for box in row if foreground[box.slices].any()]
        for place in range(0, len(wanted), batch):
            some = wanted[place : place + batch]
            logits = logits_of(np.stack([_cut(volume, box) for box in some]))  # (N, K, x, y, z)
            if total is None:
                total = np.zeros((logits.shape[1], *sums.shape), dtype=np.float32)
            for box, one in zip(some, logits, strict=True):
                _, y, z = box.slices
                total[:, :, y, z] += one * weights
                sums[:, y, z] += weights
    yield from _finished(total, sums, first, window[0])


def _cut(volume: FloatArray, box: Box) -> FloatArray:
    x, y, z = box.slices
    return volume[:, x, y, z]


def _finished(total: FloatArray | None, sums: FloatArray, first: int, width: int) -> Iterator[tuple[int, FloatArray]]:
    """The first `width` voxels along X, divided by what was added there; the buffers move on by as much."""
    if total is None:  # no brain so far, and so no network that would tell how many labels there are
        return
    slab = total[:, :width] / np.maximum(sums[:width], np.finfo(np.float32).tiny)
    yield first, slab
    for buffer in (total, sums[np.newaxis]):
        left = buffer.shape[1] - width
        buffer[:, :left] = buffer[:, width:].copy()
        buffer[:, left:] = 0
