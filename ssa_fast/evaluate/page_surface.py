"""The surface of a mask as triangles, for a page to turn about."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ssa_fast.volume.geometry import Affine, BoolArray, bounding_box

__all__ = ["Surface", "mz3_bytes", "surface_of"]

_ROUNDS = 8  # of smoothing: steps of one voxel are gone, and the enclosed volume is kept to a few percent
_GZIP = 31  # zlib's window of 15 bits, and 16: gzip's header and checksum
_HAS_FACES_AND_POINTS = 3
_QUAD_TO_TRIANGLES = (0, 1, 2, 0, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A closed surface; seen from outside, the corners of a triangle run against the clock."""

    points: npt.NDArray[np.float32]  # (P, 3) in mm
    triangles: npt.NDArray[np.int32]  # (T, 3) rows of `points`


def surface_of(mask: BoolArray, affine: Affine) -> Surface:
    """The surface around the True voxels of (X, Y, Z), in mm by `affine`; no triangle for none.

    A point in every cell of eight voxels that are not all alike, a square between the four cells around every face of
    the mask, and points then drawn to the mean of their neighbours, though not out of their cells.
    Source: constrained elastic surface nets (Gibson, MICCAI 1998).
    """
    if not mask.any():
        return Surface(points=np.zeros((0, 3), dtype=np.float32), triangles=np.zeros((0, 3), dtype=np.int32))
    box = bounding_box(mask)
    padded = np.pad(mask[box.slices], 1)
    corners = [
        padded[tuple(slice(step, edge - 1 + step) for step, edge in zip(steps, padded.shape, strict=True))]
        for steps in product((0, 1), repeat=3)
    ]
    crossed = np.logical_or.reduce(corners) & ~np.logical_and.reduce(corners)
    cells = np.argwhere(crossed)
    numbers = np.full(crossed.shape, -1, dtype=np.int32)
    numbers[crossed] = np.arange(len(cells), dtype=np.int32)
    squares = np.concatenate([_squares(padded, numbers, axis) for axis in range(3)])
    middles = cells + np.array(box.start) - 0.5  # of the cells: a voxel's own middle is a whole number
    points = _smoothed(middles, squares)
    if np.linalg.det(affine[:3, :3]) < 0:
        squares = squares[:, ::-1]
    in_mm = points @ affine[:3, :3].T + affine[:3, 3]
    return Surface(
        points=in_mm.astype(np.float32), triangles=squares[:, _QUAD_TO_TRIANGLES].reshape(-1, 3).astype(np.int32)
    )


def mz3_bytes(surface: Surface) -> bytes:
    """The surface as a compressed file of Surfice's format MZ3, points to a hundredth of a mm."""
    head = struct.pack("<2sHIII", b"MZ", _HAS_FACES_AND_POINTS, len(surface.triangles), len(surface.points), 0)
    points = np.round(surface.points, 2).astype("<f4")
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    return packer.compress(head + surface.triangles.astype("<i4").tobytes() + points.tobytes()) + packer.flush()


def _squares(padded: BoolArray, numbers: npt.NDArray[np.int32], axis: int) -> npt.NDArray[np.int32]:
    """The four cells around every face between a True and a False voxel along `axis`, (S, 4)."""
    turned, cells = np.moveaxis(padded, axis, 0), np.moveaxis(numbers, axis, 0)
    below, above = turned[:-1], turned[1:]
    found = []
    for inside, order in ((below & ~above, 1), (~below & above, -1)):
        a, b, c = np.nonzero(inside)  # the face is in the middle of cells b-1 and b, c-1 and c
        around = [cells[a, b + db, c + dc] for db, dc in ((-1, -1), (0, -1), (0, 0), (-1, 0))]
        found.append(np.stack(around, axis=1)[:, ::order])
    squares: npt.NDArray[np.int32] = np.concatenate(found)
    return squares[:, ::-1] if axis == 1 else squares  # moving Y to the front is a left-handed turn


def _smoothed(points: npt.NDArray[np.float64], squares: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    centers, sides = points, np.concatenate([squares[:, [0, 1]], squares[:, [1, 2]]])
    sides = np.concatenate([sides, squares[:, [2, 3]], squares[:, [3, 0]]])
    counts = np.bincount(sides[:, 0], minlength=len(points)).astype(np.float64)
    for _ in range(_ROUNDS):
        sums = [np.bincount(sides[:, 0], points[sides[:, 1], k], minlength=len(points)) for k in range(3)]
        means = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, np.newaxis]
        points = np.clip(means, centers - 0.5, centers + 0.5)
    return points
