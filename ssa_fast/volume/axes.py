"""A matrix along each axis of a volume: blur, interpolation and slices are all of this kind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssa_fast.volume.geometry import FloatArray

__all__ = ["along_axes", "hat_weights"]


def along_axes(volume: FloatArray, matrices: list[FloatArray]) -> FloatArray:
    """(X, Y, Z) with a (new, old) matrix applied to each axis."""
    first, second, third = matrices
    flat = first @ volume.reshape(len(volume), -1)  # (X', Y * Z)
    mapped: FloatArray = second @ flat.reshape(-1, *volume.shape[1:]) @ third.T  # (X', Y', Z')
    return np.ascontiguousarray(mapped)


def hat_weights(edge: int, places: npt.NDArray[np.float64], width: float = 1.0) -> FloatArray:
    """Weights (places, edge) of voxels under a hat of `width` around each place; a row adds up to 1.

    Width 1 is linear interpolation. Beyond the border the voxel there counts.
    """
    inside = places.clip(0, edge - 1)
    weights = np.maximum(1 - np.abs(inside[:, None] - np.arange(edge)) / width, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
