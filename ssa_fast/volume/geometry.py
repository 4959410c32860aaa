"""Where voxels are: the brain's box, orientation by the affine, padding to what a network divides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.errors import ShapeError

__all__ = [
    "BoolArray",
    "Box",
    "FloatArray",
    "LabelArray",
    "bounding_box",
    "pad_to",
    "pad_to_multiple",
    "padded_shape",
    "spacing_mm",
    "to_orientation",
    "to_ras",
]

FloatArray: TypeAlias = npt.NDArray[np.float32]
LabelArray: TypeAlias = npt.NDArray[np.uint8]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Affine: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A block of voxels: `start` included, `stop` excluded, X Y Z."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Edges in voxels, X Y Z."""
        x, y, z = (stop - start for start, stop in zip(self.start, self.stop, strict=True))
        return x, y, z

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index of a (X, Y, Z) array."""
        x, y, z = (slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))
        return x, y, z


def bounding_box(foreground: BoolArray) -> Box:
    """The smallest box that holds every True voxel of a (X, Y, Z) array.

    Raises ShapeError if there is none.
    """
    starts, stops = [], []
    for other_axes in ((1, 2), (0, 2), (0, 1)):
        line = foreground.any(axis=other_axes)
        inside = np.flatnonzero(line)
        if inside.size == 0:
            raise ShapeError("no voxel to draw a box around: the array is empty")
        starts.append(int(inside[0]))
        stops.append(int(inside[-1]) + 1)
    return Box((starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]))


def padded_shape(shape: Sequence[int], divisor: int) -> tuple[int, int, int]:
    """Each edge raised to the next multiple of `divisor`: (140, 172, 138), 16 -> (144, 176, 144)."""
    x, y, z = (divisor * math.ceil(edge / divisor) for edge in shape)
    return x, y, z


def pad_to_multiple(array: FloatArray, divisor: int) -> tuple[FloatArray, Box]:
    """(C, X, Y, Z) zero-padded on both sides to multiples of `divisor`, and the box that the array fills in it."""
    return pad_to(array, padded_shape(array.shape[1:], divisor))


def pad_to(array: FloatArray, target: tuple[int, int, int]) -> tuple[FloatArray, Box]:
    """(C, X, Y, Z) zero-padded on both sides to (C, *target), and the box that the array fills in it.

    Raises ShapeError if the array is larger.
    """
    shape = (array.shape[1], array.shape[2], array.shape[3])
    if any(edge > wanted for edge, wanted in zip(shape, target, strict=True)):
        raise ShapeError(f"an array of {shape} voxels does not fit into {target}")
    x, y, z = ((wanted - edge) // 2 for wanted, edge in zip(target, shape, strict=True))
    inner = Box((x, y, z), (x + shape[0], y + shape[1], z + shape[2]))
    padded = np.zeros((array.shape[0], *target), dtype=np.float32)
    x_slice, y_slice, z_slice = inner.slices
    padded[:, x_slice, y_slice, z_slice] = array
    return padded, inner


def to_ras(array: npt.NDArray[np.generic], affine: Affine) -> npt.NDArray[np.generic]:
    """A view of (X, Y, Z) with its axes permuted and flipped so that they run to Right, Anterior, Superior.

    Only whole axes move; an oblique affine keeps its angles. Source: nibabel.orientations.
    """
    return _reoriented(array, nibabel.orientations.io_orientation(affine))


def to_orientation(array: npt.NDArray[np.generic], affine: Affine) -> npt.NDArray[np.generic]:
    """The inverse of `to_ras`: a RAS array in the axes of `affine`."""
    ras = nibabel.orientations.io_orientation(np.eye(4))
    own = nibabel.orientations.io_orientation(affine)
    return _reoriented(array, nibabel.orientations.ornt_transform(ras, own))


def _reoriented(array: npt.NDArray[np.generic], orientation: npt.NDArray[np.float64]) -> npt.NDArray[np.generic]:
    turned: npt.NDArray[np.generic] = nibabel.orientations.apply_orientation(array, orientation)
    return turned


def spacing_mm(affine: Affine) -> tuple[float, float, float]:
    """Voxel edges in mm along X Y Z."""
    x, y, z = (float(edge) for edge in np.linalg.norm(affine[:3, :3], axis=0))
    return x, y, z
