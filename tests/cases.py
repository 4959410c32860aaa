"""Tiny synthetic cases for tests: small enough to write in milliseconds, real enough to be read as BraTS."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.labels import ED, ET, MODALITIES, NCR
from ssa_fast.volume.case import Case
from ssa_fast.volume.nifti import Volume

SHAPE = (24, 20, 18)
"""Edges of a synthetic case: all three differ, so that swapped axes are seen."""

_DIRECTIONS = {
    "R": (1, 0, 0),
    "A": (0, 1, 0),
    "S": (0, 0, 1),
    "L": (-1, 0, 0),
    "P": (0, -1, 0),
    "I": (0, 0, -1),
}

ORIENTATIONS = tuple(
    "".join(ends) for axes in itertools.permutations(("RL", "AP", "SI")) for ends in itertools.product(*axes)
)
"""The 48 ways in which the axes of a file can run, by the ends they run to: RAS, LPS, ASL..."""

_BALL_CASE_MM = (84, 96, 78)
_BRAIN_MM = (36, 42, 33)  # half axes
BALLS = {3: ((10, 12, -6), 13), 2: ((-12, -10, 5), 14)}
"""Label -> middle and radius, in mm along the axes of the file, of what `ball_case` holds."""


def brain_ellipsoid(shape: tuple[int, int, int] = SHAPE) -> npt.NDArray[np.bool_]:
    """A brain that touches no border: about a quarter of the volume, as in BraTS."""
    axes = np.meshgrid(*(np.linspace(-1, 1, edge) for edge in shape), indexing="ij")
    return np.asarray(sum(axis**2 for axis in axes) < 0.7)


def brain_values(shape: tuple[int, int, int] = SHAPE, *, seed: int = 0) -> npt.NDArray[np.float64]:
    """Whole numbers around 300 inside `brain_ellipsoid`, some negative, none zero there; 0 outside."""
    values = np.random.default_rng(seed).normal(300, 150, shape).round()
    values[values == 0] = 1
    return np.where(brain_ellipsoid(shape), values, 0)


def tumor_labels(shape: tuple[int, int, int] = SHAPE) -> npt.NDArray[np.uint8]:
    """Necrosis in enhancing tumour in oedema, blocks of 3, 5 and 7 voxels, off the brain's centre in every axis."""
    labels = np.zeros(shape, dtype=np.uint8)
    for label, first, last in ((ED, -5, 2), (ET, -4, 1), (NCR, -3, 0)):
        labels[tuple(slice(edge // 2 + first, edge // 2 + last) for edge in shape)] = label
    return labels


def turned_affine(axes: str, origin_mm: tuple[float, float, float] = (0, 0, 0)) -> npt.NDArray[np.float64]:
    """The 4x4 affine of 1 mm voxels whose axes X Y Z run to the three ends in `axes`, such as LPS."""
    affine = np.eye(4)
    for column, end in enumerate(axes):
        affine[:3, column] = _DIRECTIONS[end]
    affine[:3, 3] = origin_mm
    return affine


def rotation(degrees: float) -> npt.NDArray[np.float64]:
    """A 4x4 rotation by `degrees` about an axis that is none of X Y Z: what makes an affine oblique."""
    x, y, z = np.array([1, 2, 3]) / math.sqrt(14)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    turn = np.eye(4)
    turn[:3, :3] += math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross  # Rodrigues' formula
    return turn


def write_nifti(
    path: Path,
    array: npt.NDArray[Any],
    affine: npt.NDArray[np.float64] | None = None,
    *,
    image_class: type[nibabel.Nifti1Image] = nibabel.Nifti1Image,
) -> Path:
    """Write `array` to `path` on `affine` (1 mm RAS if None), in the type that it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image_class(array, np.eye(4) if affine is None else affine, dtype=array.dtype), path)
    return path


def write_case(
    folder: Path,
    name: str,
    *,
    words: Sequence[str] = MODALITIES,
    shape: tuple[int, int, int] = SHAPE,
    affine: npt.NDArray[np.float64] | None = None,
    dtype: npt.DTypeLike = np.float32,
    labels: bool = True,
    suffix: str = ".nii.gz",
    separator: str = "-",
    seed: int = 0,
) -> Path:
    """Write `folder/name/name-word.nii.gz` for every word, with `-seg` if `labels`; returns the case folder.

    Voxels are drawn in the axes of the file, 1 mm RAS if `affine` is None. Equal arguments write equal voxels.
    `words=("t1", "t1ce", "t2", "flair"), separator="_"` gives the names of BraTS 2021.
    """
    case_folder = folder / name
    for number, word in enumerate(words):
        values = brain_values(shape, seed=1000 * seed + number).astype(dtype)
        write_nifti(case_folder / f"{name}{separator}{word}{suffix}", values, affine)
    if labels:
        write_nifti(case_folder / f"{name}{separator}seg{suffix}", tumor_labels(shape), affine)
    return case_folder


def ball_case(
    spacing: tuple[float, float, float], axes: str = "RAS", degrees: float = 0
) -> tuple[Case, npt.NDArray[np.uint8]]:
    """A brain with one bright ball on t1c (label 3) and another on t2f (2), and what is where, on its own grid."""
    shape = [int(np.ceil(extent / edge)) for extent, edge in zip(_BALL_CASE_MM, spacing, strict=True)]
    places = [(np.arange(n) - (n - 1) / 2) * edge for n, edge in zip(shape, spacing, strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    brain = sum((axis / half) ** 2 for axis, half in zip(grid, _BRAIN_MM, strict=True)) < 1
    truth = np.zeros(shape, dtype=np.uint8)
    for label, (middle, radius) in BALLS.items():
        inside = sum((axis - at) ** 2 for axis, at in zip(grid, middle, strict=True)) < radius**2
        truth[inside & brain] = label
    rng = np.random.default_rng(0)
    affine = rotation(degrees) @ turned_affine(axes, (3, -5, 7)) @ np.diag([*spacing, 1])
    volumes = []
    for label in (None, 3, None, 2):
        values = rng.normal(300, 3, shape) + 300 * (truth == label if label else 0)
        array = np.asfortranarray(np.where(brain, values, 0).astype(np.float32))
        header = nibabel.Nifti1Image(array, affine).header
        volumes.append(Volume(path=Path("ball.nii.gz"), array=array, affine=affine, header=header))
    return Case(name="ball", volumes=tuple(volumes)), truth
