"""Surfaces of voxel sets, and how far apart two of them lie, in mm."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import BackendUnavailable, ShapeError
from ssa_fast.volume.geometry import BoolArray, bounding_box

__all__ = ["Distances", "Spacing", "SurfaceDistances", "check_pair", "distances_to", "surface_distances", "surface_mm2"]

Spacing: TypeAlias = tuple[float, float, float]  # voxel edges in mm, X Y Z
Distances: TypeAlias = npt.NDArray[np.float64]

_CORNER, _SMALL, _LARGE = (0.125,) * 3, (0.25,) * 3, (0.375,) * 3
_TRIANGLES: Mapping[int, tuple[tuple[float, ...], ...]] = MappingProxyType(
    {
        0b00000001: (_CORNER,),
        0b00000011: ((0.25, 0.25, 0), (0.25, 0.25, 0)),
        0b00000110: (_CORNER, _CORNER),
        0b00000111: ((0.5, 0, 0), _SMALL, _CORNER),
        0b00001111: ((0.5, 0, 0), (0.5, 0, 0)),
        0b00010110: (_CORNER, _CORNER, _CORNER),
        0b00010111: (_CORNER, _SMALL, _SMALL, _CORNER),
        0b00011000: (_CORNER, _CORNER),
        0b00011001: ((0, 0.25, 0.25), (0, 0.25, 0.25), _CORNER),
        0b00011011: (_CORNER, _LARGE, (0, 0.25, 0.25), (0.25, 0, 0.25)),
        0b00011110: ((0.5, 0, 0), _CORNER, _SMALL, _CORNER),
        0b00111100: ((0.25, 0.25, 0),) * 4,
        0b01101001: (_CORNER,) * 4,
    }
)
"""The surface in a cube of eight voxels' middles, for one of each kind of cube: code -> triangles, each as the areas of
its shadows on the planes YZ, XZ and XY, in faces of a voxel. The other cubes are these turned, mirrored or inverted."""

_FULL = 0b11111111


@dataclass(frozen=True, kw_only=True)
class SurfaceDistances:
    """From every surface element of each set to the nearest of the other: mm, ascending, with the elements' mm2.

    If one set is empty, the other's distances are infinite; if both are, there are none.
    """

    reference_mm: Distances
    reference_mm2: Distances
    predicted_mm: Distances
    predicted_mm2: Distances

    def hausdorff_mm(self, percent: float = 95) -> float:
        """The larger of the two distances within which `percent` of each surface's area lies; 0 to infinity.

        Both empty: 0; one empty: infinity. Source: robust Hausdorff of DeepMind's surface-distance, which BraTS uses.
        """
        if not self.reference_mm.size and not self.predicted_mm.size:
            return 0.0
        sides = ((self.reference_mm, self.reference_mm2), (self.predicted_mm, self.predicted_mm2))
        return max(_percentile(mm, mm2, percent) for mm, mm2 in sides)

    def average_mm(self) -> float:
        """Mean distance over the area of both surfaces together. Both empty: 0; one empty: infinity."""
        area = self.reference_mm2.sum() + self.predicted_mm2.sum()
        if not area:
            return 0.0
        return float(((self.reference_mm * self.reference_mm2).sum() + self._predicted_sum()) / area)

    def nsd(self, tolerance_mm: float) -> float:
        """Share of both surfaces' area that lies within `tolerance_mm` of the other: normalized surface Dice, 0 to 1.

        Both empty: 1; one empty: 0. Source: Nikolov et al., JMIR 2021.
        """
        area = self.reference_mm2.sum() + self.predicted_mm2.sum()
        if not area:
            return 1.0
        near = self.reference_mm2[self.reference_mm <= tolerance_mm].sum()
        return float((near + self.predicted_mm2[self.predicted_mm <= tolerance_mm].sum()) / area)

    def _predicted_sum(self) -> float:
        return float((self.predicted_mm * self.predicted_mm2).sum())


def surface_distances(reference: BoolArray, predicted: BoolArray, spacing_mm: Spacing) -> SurfaceDistances:
    """How far apart the surfaces of two (X, Y, Z) voxel sets lie.

    A surface element lies at every corner of voxels that has voxels in and out of the set around it, also at the border
    of the image; its area is that of marching cubes there. Distances are exact: Euclidean, from corner to corner.
    Raises ShapeError if the shapes differ, BackendUnavailable without scipy.
    Source: the definitions of DeepMind's surface-distance (Apache-2.0), whose triangulation of the cubes this is.
    """
    check_pair(reference, predicted)
    either = reference | predicted
    if not either.any():
        nothing = np.zeros(0)
        return SurfaceDistances(
            reference_mm=nothing, reference_mm2=nothing, predicted_mm=nothing, predicted_mm2=nothing
        )
    box = bounding_box(either).slices
    areas = _areas(spacing_mm)
    codes = [_codes(mask[box]) for mask in (reference, predicted)]
    on_reference, on_predicted = ((code != 0) & (code != _FULL) for code in codes)
    there = _by_distance(distances_to(on_reference, on_predicted, spacing_mm), areas[codes[0][on_reference]])
    back = _by_distance(distances_to(on_predicted, on_reference, spacing_mm), areas[codes[1][on_predicted]])
    return SurfaceDistances(reference_mm=there[0], reference_mm2=there[1], predicted_mm=back[0], predicted_mm2=back[1])


def surface_mm2(mask: BoolArray, spacing_mm: Spacing) -> float:
    """Area of the surface of a (X, Y, Z) voxel set in mm2, by marching cubes; 0 if it is empty. It needs no scipy."""
    if not mask.any():
        return 0.0
    return float(_areas(spacing_mm)[_codes(mask[bounding_box(mask).slices])].sum())


def distances_to(places: BoolArray, targets: BoolArray, spacing_mm: Spacing) -> Distances:
    """From each True of `places` (X, Y, Z), in C order, to the nearest True of `targets`, in mm; infinity if none.

    A k-d tree over the targets finds the nearest, which for surfaces is as fast as a distance transform of the whole
    box and needs no memory for it; the distance is then taken from whole steps of voxels, so that equal ones are equal.
    Raises BackendUnavailable without scipy.
    """
    try:
        from scipy.spatial import KDTree
    except ImportError as error:
        raise BackendUnavailable(f"surfaces need 'scipy': pip install 'ssa-fast[evaluate]' ({error})") from error
    found: Distances = np.zeros(np.count_nonzero(places))
    if not targets.any():
        found[:] = math.inf
        return found
    away = ~targets[places]  # the others are their own nearest
    if away.any():
        spacing = np.array(spacing_mm)
        points, goals = np.argwhere(places)[away], np.argwhere(targets)
        tree = KDTree(goals * spacing, balanced_tree=False, compact_nodes=False)
        steps = (points - goals[tree.query(points * spacing)[1]]) * spacing
        found[away] = np.sqrt((steps**2).sum(axis=1))
    return found


def check_pair(reference: BoolArray, predicted: BoolArray) -> None:
    """Raises ShapeError if the two are not (X, Y, Z) arrays of one shape."""
    if reference.shape != predicted.shape or reference.ndim != 3:
        raise ShapeError(
            f"reference is {reference.shape}, prediction {predicted.shape}: they must be (X, Y, Z) on one grid"
        )


def _codes(mask: BoolArray) -> npt.NDArray[np.uint8]:
    """The eight voxels around each corner as bits, X slowest: (X, Y, Z) -> (X + 1, Y + 1, Z + 1)."""
    codes = np.pad(mask.astype(np.uint8), 1)
    codes = np.asarray(codes[:-1] << np.uint8(4) | codes[1:])
    codes = np.asarray(codes[:, :-1] << np.uint8(2) | codes[:, 1:])
    return np.asarray(codes[:, :, :-1] << np.uint8(1) | codes[:, :, 1:])


@lru_cache(maxsize=64)
def _areas(spacing_mm: Spacing) -> Distances:
    """The mm2 of surface in a cube of each of the 256 codes."""
    x, y, z = spacing_mm
    faces = np.array([y * z, x * z, x * y])
    bits = 1 << np.arange(8)[::-1].reshape(2, 2, 2)
    areas = np.zeros(256)
    for code, triangles in _TRIANGLES.items():
        inside = (code & bits) > 0
        for axes in itertools.permutations(range(3)):
            area = sum(float(np.linalg.norm(np.array(triangle)[list(axes)] * faces)) for triangle in triangles)
            for steps in itertools.product((1, -1), repeat=3):
                turned = inside.transpose(axes)[tuple(slice(None, None, step) for step in steps)]
                there = int(bits[turned].sum())
                areas[there] = areas[_FULL - there] = area
    areas.flags.writeable = False  # shared by all calls
    return areas


def _by_distance(mm: Distances, mm2: Distances) -> tuple[Distances, Distances]:
    order = np.lexsort((mm2, mm))
    return mm[order], mm2[order]


def _percentile(mm: Distances, mm2: Distances, percent: float) -> float:
    if not mm.size:
        return math.inf
    place = int(np.searchsorted(np.cumsum(mm2) / np.sum(mm2), percent / 100))
    return float(mm[min(place, mm.size - 1)])
