"""What a case's page shows in space: images, label maps and doubt, cropped and small enough to be carried in it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.volume.case import Case, CaseFiles, errors_of_case, read_case, same_grid
from ssa_fast.volume.geometry import Affine, BoolArray, Box, LabelArray, bounding_box, to_ras
from ssa_fast.volume.nifti import Volume, read_labels, read_volume
from ssa_fast.volume.slices import tumor_slice

__all__ = ["DIFFERENCES", "EXTRA", "MISSED", "OTHER", "ByteArray", "Scene", "difference", "nifti_bytes", "read_scene"]

ByteArray: TypeAlias = npt.NDArray[np.uint8]

MISSED, EXTRA, OTHER = 1, 2, 3
DIFFERENCES: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        MISSED: ("missed: tumour in the reference only", "#CC79A7"),
        EXTRA: ("extra: tumour in the prediction only", "#009E73"),
        OTHER: ("tumour in both, by another label", "#E69F00"),
    }
)
"""Value -> what it means, and its colour: of Okabe and Ito's set, none of those that labels have."""

_WINDOW_PERCENTILES = (0.5, 99.8)  # of a modality's own brain voxels, shown as the darkest and the brightest
_MARGIN = 2  # voxels around brain and labels
_STEPS = 255  # of a map's value from 0 to 1
_GZIP = 31  # zlib's window of 15 bits, and 16: gzip's header and checksum


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A case in RAS axes, cropped to its brain and labels; every array is uint8 on the one affine."""

    images: ByteArray  # (X, Y, Z, 4) in the order of MODALITIES; 0 outside of the brain, 1 to 255 by its percentiles
    labels: Mapping[str, LabelArray]  # "prediction", then "reference" where there is one
    maps: Mapping[str, ByteArray]  # such as "entropy", 255 for 1
    affine: Affine  # of the cropped grid
    first_slice: int  # of the crop in the whole volume, along Z
    slices: int  # of the whole volume
    shown_slice: int  # of the whole volume: where most tumour is


def read_scene(files: CaseFiles, prediction: Volume, maps: Mapping[str, Path]) -> Scene:
    """The case's images, its reference where there is one, a prediction of it, and maps of values from 0 to 1.

    Raises CaseError if the case or a map cannot be read, or they are on different grids.
    """
    case = read_case(files, is_any_spacing=True)
    with errors_of_case(files.name):
        volumes = {"prediction": prediction}
        if files.reference is not None:
            volumes["reference"] = read_labels(files.reference)
        mapped = {kind: read_volume(path) for kind, path in maps.items()}
        for volume in (*volumes.values(), *mapped.values()):
            same_grid(volume, case.grid)
    return _scene(case, volumes, mapped)


def difference(reference: LabelArray, prediction: LabelArray) -> LabelArray:
    """MISSED, EXTRA or OTHER where two label maps differ, 0 where they are equal."""
    kinds = np.zeros(reference.shape, dtype=np.uint8)
    kinds[(reference > 0) & (prediction > 0) & (reference != prediction)] = OTHER
    kinds[(reference > 0) & (prediction == 0)] = MISSED
    kinds[(reference == 0) & (prediction > 0)] = EXTRA
    return kinds


def nifti_bytes(array: ByteArray, affine: Affine) -> bytes:
    """A compressed NIfTI file of uint8 voxels (X, Y, Z) or (X, Y, Z, N): equal bytes for equal arguments."""
    image = nibabel.Nifti1Image(array, affine, dtype=np.uint8)
    image.header.set_xyzt_units("mm")
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)  # 5 % smaller than ISA-L, and nobody waits for a page
    return packer.compress(image.to_bytes()) + packer.flush()


def _scene(case: Case, volumes: Mapping[str, Volume], maps: Mapping[str, Volume]) -> Scene:
    arrays = [to_ras(volume.array, volume.affine) for volume in case.volumes]
    labels = {name: np.asarray(to_ras(its.array, its.affine), dtype=np.uint8) for name, its in volumes.items()}
    brain = arrays[0] != 0
    for array in arrays[1:]:
        brain |= array != 0
    box = _box(brain, labels.values())
    source = labels["reference"] if labels.get("reference", np.zeros(1)).any() else labels["prediction"]
    return Scene(
        images=np.stack([_windowed(array[box.slices]) for array in arrays], axis=-1),
        labels={name: array[box.slices] for name, array in labels.items()},
        maps={kind: _bytes_of(to_ras(its.array, its.affine)[box.slices]) for kind, its in maps.items()},
        affine=_ras_affine(case.grid, box),
        first_slice=box.start[2],
        slices=brain.shape[2],
        shown_slice=tumor_slice(source, brain),
    )


def _box(brain: BoolArray, labels: Iterable[LabelArray]) -> Box:
    shown = brain.copy()
    for array in labels:
        shown |= array > 0
    inner = bounding_box(shown)
    x0, y0, z0 = (max(start - _MARGIN, 0) for start in inner.start)
    x1, y1, z1 = (min(stop + _MARGIN, edge) for stop, edge in zip(inner.stop, brain.shape, strict=True))
    return Box((x0, y0, z0), (x1, y1, z1))


def _ras_affine(grid: Volume, box: Box) -> Affine:
    """The affine of the crop `box` of a volume in RAS axes."""
    orientation = nibabel.orientations.io_orientation(grid.affine)
    turned = grid.affine @ nibabel.orientations.inv_ornt_aff(orientation, grid.array.shape)
    moved = np.eye(4)
    moved[:3, 3] = box.start
    affine: Affine = np.asarray(turned @ moved, dtype=np.float64)
    return affine


def _windowed(array: npt.NDArray[np.generic]) -> ByteArray:
    """From 1 to 255 by the percentiles of the brain, 0 outside it: intensities may be negative."""
    values = np.asarray(array, dtype=np.float32)
    inside = values != 0
    low, high = np.percentile(values[inside], _WINDOW_PERCENTILES)
    gray = 1 + np.rint(np.clip((values - low) / (high - low or 1), 0, 1) * 254)
    return np.where(inside, gray, 0).astype(np.uint8)


def _bytes_of(values: npt.NDArray[np.generic]) -> ByteArray:
    return np.rint(np.clip(np.asarray(values, dtype=np.float32), 0, 1) * _STEPS).astype(np.uint8)
