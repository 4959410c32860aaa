"""Whether the images of a brain lie on each other: by their edges, for their intensities do not compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssa_fast.labels import MODALITIES
from ssa_fast.volume.geometry import BoolArray, FloatArray, bounding_box

__all__ = ["Misfit", "misfits"]

_CELL = 4  # voxels of 1 mm, an edge: finer edges are noise in the thick slices of clinical images
_REACH = 2  # cells that images are moved to and fro along each axis
_DEPTH = 2  # cells below the brain's surface: a mask that all images share has an edge of its own there
_FEWEST_CELLS = 1000
# Mean correlation of an image's edges with those of the three others; fifteen BraTS-SSA cases have 0.40 or more as they
# are given, gain 0.02 at most by moving one image, and lose 0.10 at least by mirroring one.
_LEAST_CORRELATION = 0.30
_LARGEST_GAIN = 0.08
_LARGEST_MIRROR_GAIN = 0.02
_STEPS = [(0, 0, 0)] + [
    (shift * (axis == 0), shift * (axis == 1), shift * (axis == 2))
    for axis in range(3)
    for shift in range(-_REACH, _REACH + 1)
    if shift
]


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """An image that does not lie on the others."""

    modality: str
    seen: str


def misfits(array: FloatArray) -> list[Misfit]:
    """Images of a brain (C, X, Y, Z), z-scored, voxels of 1 mm in RAS, that lie wrong on the others: the worst one.

    Found are an image mirrored left to right, one that fits better when it is moved, and one that fits nowhere. On
    fifteen BraTS-SSA cases, none of which is suspected, all of 60 mirrored images are found, of 180 each displaced by
    2, 4 and 6 mm 9, 165 and 180, of 180 each turned by 5, 10 and 20 degrees 0, 22 and 137; the limits were set on these
    cases. All four mirrored or displaced together cannot be known. Takes 0.02 s of a processor.
    """
    cells = _cells(array)
    core = _eroded((cells != 0).all(axis=0), _DEPTH)
    if np.count_nonzero(core) < _FEWEST_CELLS:
        return []
    box = bounding_box(core)
    inside = core[box.slices]
    edges = [np.pad(_edges(image), _REACH) for image in cells]
    mirrored = [np.pad(_edges(image)[::-1], _REACH) for image in cells]
    still = np.stack([_moved(image, box.start, inside, (0, 0, 0)) for image in edges])  # (C, cells)
    count = len(MODALITIES)
    others = (still.sum(axis=0) - still) / (count - 1)  # a product with it is the mean correlation with the others
    found = []
    for place, modality in enumerate(MODALITIES):
        here = float(still[place] @ others[place])
        moved = max(float(_moved(edges[place], box.start, inside, step) @ others[place]) for step in _STEPS)
        turned = max(float(_moved(mirrored[place], box.start, inside, step) @ others[place]) for step in _STEPS)
        found.append((here, moved, turned, modality))
    return _worst(found)


def _worst(found: list[tuple[float, float, float, str]]) -> list[Misfit]:
    """One image that lies wrong lowers the others' fit too, so only the most suspect is named."""
    turned = max(found, key=lambda one: one[2] - one[0])
    if turned[2] - turned[0] > _LARGEST_MIRROR_GAIN and turned[2] > max(turned[1], _LEAST_CORRELATION):
        return [Misfit(modality=turned[3], seen=f"{turned[3]} fits the other images better mirrored left to right")]
    moved = max(found, key=lambda one: one[1] - one[0])
    if moved[1] - moved[0] > _LARGEST_GAIN:
        return [Misfit(modality=moved[3], seen=f"{moved[3]} fits the other images better when it is moved")]
    lost = min(found)
    if lost[0] < _LEAST_CORRELATION:
        return [Misfit(modality=lost[3], seen=f"edges on {lost[3]} are not where they are on the other images")]
    return []


def _cells(array: FloatArray) -> FloatArray:
    """Means over cubes of `_CELL` voxels, what is left over at the far ends dropped: (C, x, y, z)."""
    for axis in (1, 2, 3):
        count = array.shape[axis] // _CELL
        parts = []
        for first in range(_CELL):
            cut = [slice(None)] * 4
            cut[axis] = slice(first, count * _CELL, _CELL)
            parts.append(array[tuple(cut)])
        array = parts[0] + parts[1]
        for part in parts[2:]:
            array += part
    array *= np.float32(1 / _CELL**3)
    return array


def _edges(image: FloatArray) -> FloatArray:
    """Length of the gradient, 0 at the border: (x, y, z)."""
    squares = np.zeros_like(image)
    middle = slice(1, -1)
    for axis in range(3):
        upper, lower, place = ([slice(None)] * 3 for _ in range(3))
        upper[axis], lower[axis], place[axis] = slice(2, None), slice(None, -2), middle
        squares[tuple(place)] += (image[tuple(upper)] - image[tuple(lower)]) ** 2
    return np.asarray(np.sqrt(squares), dtype=np.float32)


def _eroded(mask: BoolArray, radius: int) -> BoolArray:
    """Cells whose cube of 2 `radius` + 1 cells lies within the mask."""
    for axis in range(3):
        for _ in range(radius):
            shrunk = np.zeros_like(mask)
            upper, lower, place = ([slice(None)] * 3 for _ in range(3))
            upper[axis], lower[axis], place[axis] = slice(2, None), slice(None, -2), slice(1, -1)
            shrunk[tuple(place)] = mask[tuple(upper)] & mask[tuple(lower)] & mask[tuple(place)]
            mask = shrunk
    return mask


def _moved(
    padded: FloatArray, start: tuple[int, int, int], inside: BoolArray, step: tuple[int, int, int]
) -> FloatArray:
    """The cells of an image that is moved by `step`, under the mask, of mean 0 and length 1."""
    cut = tuple(
        slice(first + _REACH + shift, first + _REACH + shift + edge)
        for first, shift, edge in zip(start, step, inside.shape, strict=True)
    )
    values: FloatArray = padded[cut][inside]
    values -= values.mean()
    values /= max(float(np.linalg.norm(values)), 1e-12)
    return values
