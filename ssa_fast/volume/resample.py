"""Voxels of other sizes: a case to 1 mm for the network, and its labels back to the grid of its files."""

from __future__ import annotations

from dataclasses import dataclass, replace

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.errors import CaseError
from ssa_fast.labels import LABELS
from ssa_fast.volume.axes import along_axes, hat_weights
from ssa_fast.volume.case import Case, has_voxels_of_1_mm
from ssa_fast.volume.geometry import (
    BoolArray,
    Box,
    FloatArray,
    LabelArray,
    bounding_box,
    spacing_mm,
    to_orientation,
    to_ras,
)

__all__ = ["Resampled", "labels_on_files", "map_on_files", "to_1_mm"]

_LONGEST_MM = 600  # of what is not zero, along an axis: no head, so the spacing in the header is wrong


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """A case in voxels of 1 mm, and where they are in its files."""

    case: Case  # RAS, cut to its brain
    files: Case  # as it was
    box: Box  # what was cut out, in voxels of the files turned to RAS
    brain: BoolArray  # in the box: any modality of the files is not zero
    ras_shape: tuple[int, ...]  # of the files, turned to RAS
    spacing_mm: tuple[float, float, float]  # of the files, X Y Z of RAS

    def without_voxels(self) -> Resampled:
        """All that `labels_on_files` needs."""
        return replace(self, case=self.case.without_voxels(), files=self.files.without_voxels())


def to_1_mm(case: Case) -> Resampled | None:
    """A case in cubes of 1 mm, or None if it is so already, to within 0.001 mm.

    Intensities are interpolated linearly among voxels of the brain, which is taken from the nearest voxel; where voxels
    are smaller than 1 mm they are averaged by a hat as wide as the new ones.
    Raises CaseError if the brain would be longer than 600 mm.
    """
    if has_voxels_of_1_mm(case.grid.affine):
        return None
    turned = [to_ras(volume.array, volume.affine) for volume in case.volumes]
    orientation = nibabel.orientations.io_orientation(case.grid.affine)
    affine = case.grid.affine @ nibabel.orientations.inv_ornt_aff(orientation, case.grid.array.shape)
    spacing = spacing_mm(affine)
    brain: BoolArray = np.logical_or.reduce([array != 0 for array in turned])
    box = bounding_box(brain)
    lengths = [edge * size for edge, size in zip(box.shape, spacing, strict=True)]
    if max(lengths) > _LONGEST_MM:
        words = " x ".join(f"{edge:.4g}" for edge in spacing)
        raise CaseError(
            f"case {case.name}: {case.grid.path}: with voxels of {words} mm the brain would be {max(lengths):.0f} mm "
            "long: mend the spacing in the header"
        )
    edges = [max(1, round(length)) for length in lengths]
    places = [_places(edge, size, new) for edge, size, new in zip(box.shape, spacing, edges, strict=True)]
    inner = np.diag([*(1 / size for size in spacing), 1.0])
    inner[:3, 3] = [start + place[0] for start, place in zip(box.start, places, strict=True)]
    volumes = []
    for volume, array in zip(case.volumes, turned, strict=True):
        values = _to_places(np.asarray(array[box.slices], dtype=np.float32), places)
        volumes.append(replace(volume, array=values, affine=affine @ inner))
    return Resampled(
        case=Case(name=case.name, volumes=tuple(volumes)),
        files=case,
        box=box,
        brain=np.ascontiguousarray(brain[box.slices]),
        ras_shape=turned[0].shape,
        spacing_mm=spacing,
    )


def labels_on_files(labels: LabelArray, resampled: Resampled) -> LabelArray:
    """Labels of `resampled.case` (X, Y, Z) on the grid of its files: the largest of the interpolated one-hot labels.

    A tie goes to the lower label. Outside of the brain, as the files have it, is 0.
    """
    matrices = _back(labels.shape, resampled)
    best = np.full(resampled.box.shape, np.float32(0))
    rest = np.ones_like(best)  # what is no label
    result: LabelArray = np.zeros(resampled.box.shape, dtype=np.uint8)
    for label in LABELS:
        share = along_axes((labels == label).astype(np.float32), matrices)
        rest -= share
        result[share > best] = label
        np.maximum(best, share, out=best)
    result[rest >= best] = 0
    whole = np.zeros(resampled.ras_shape, dtype=np.uint8)
    whole[resampled.box.slices] = result * resampled.brain
    return np.asarray(to_orientation(whole, resampled.files.grid.affine), dtype=np.uint8)


def map_on_files(values: FloatArray, resampled: Resampled, outside: float) -> FloatArray:
    """A map of `resampled.case` (X, Y, Z) on the grid of its files, linearly, and `outside` where they have no brain.

    Maps that add up to 1 still do so, if what is outside of theirs does.
    """
    inside = along_axes(values, _back(values.shape, resampled))
    whole: FloatArray = np.full(resampled.ras_shape, outside, dtype=np.float32)
    whole[resampled.box.slices] = np.where(resampled.brain, inside, np.float32(outside))
    return np.asarray(to_orientation(whole, resampled.files.grid.affine), dtype=np.float32)


def _back(shape: tuple[int, ...], resampled: Resampled) -> list[FloatArray]:
    """What `along_axes` brings an array of `resampled.case`, of (X, Y, Z) voxels of 1 mm, to the files' voxels by."""
    matrices = []
    for old, edge, size in zip(shape, resampled.box.shape, resampled.spacing_mm, strict=True):
        places = (np.arange(edge) - (edge - 1) / 2) * size + (old - 1) / 2
        matrices.append(hat_weights(old, np.asarray(places, dtype=np.float64), max(1.0, size)))
    return matrices


def _places(edge: int, size: float, new: int) -> npt.NDArray[np.float64]:
    """Where the middles of `new` voxels of 1 mm lie among `edge` voxels of `size` mm, both around one middle."""
    return np.asarray((np.arange(new) - (new - 1) / 2) / size + (edge - 1) / 2, dtype=np.float64)


def _to_places(array: FloatArray, places: list[npt.NDArray[np.float64]]) -> FloatArray:
    """Intensities (X, Y, Z) at new places, interpolated among voxels that are not zero; zero where the nearest is."""
    matrices = []
    for edge, place in zip(array.shape, places, strict=True):
        step = float(place[1] - place[0]) if len(place) > 1 else 1.0
        matrices.append(hat_weights(edge, place, max(1.0, step)))
    brain = array != 0
    values = along_axes(array, matrices)
    values /= np.maximum(along_axes(brain.astype(np.float32), matrices), np.float32(1e-3))
    nearest = [np.rint(place).astype(int).clip(0, edge - 1) for edge, place in zip(array.shape, places, strict=True)]
    values *= brain[np.ix_(*nearest)]
    return values
