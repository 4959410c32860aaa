"""Phantom glioma cases: made-up heads that look like BraTS-SSA to a network, with an exact segmentation.

They stand in for patients wherever a case may be published: tests, examples, the smoke test of an installation.
They are no evidence of accuracy. The intensities were fitted to fifteen real BraTS-SSA cases.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.errors import CaseError, ConfigError
from ssa_fast.files import os_errors_of
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.axes import along_axes
from ssa_fast.volume.geometry import Affine, FloatArray, LabelArray
from ssa_fast.volume.phantom_anatomy import BRAIN_BOX, Anatomy, make_anatomy, random_field, soft_step

__all__ = ["Phantom", "is_phantom_name", "make_phantom", "phantom_name", "write_phantoms"]

_Voxel = TypeVar("_Voxel", bound=np.generic)

_SHAPE = (240, 240, 155)
_FIRST_NUMBER = 90000  # real BraTS-SSA cases end far below
_MOST_CASES = 100_000 - _FIRST_NUMBER  # five digits
_BOX_START = (49, 18, 6)  # where BraTS-SSA brains lie
_AFFINE = np.array([[1, 0, 0, 0], [0, 1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float64)

# Intensity of each tissue in deviations from the brain's mean, for t1n t1c t2w t2f, and how far cases differ.
_TISSUES = {
    "meninges": ((-2.7, -2.6, -1.7, -2.5), (0.2, 0.2, 0.3, 0.2)),
    "csf": ((-2.6, -2.5, 4.0, -2.6), (0.2, 0.2, 0.6, 0.2)),
    "gray": ((0.1, 0.1, 0.0, 0.5), (0.1, 0.1, 0.15, 0.1)),
    "white": ((0.75, 0.55, -0.45, 0.15), (0.1, 0.1, 0.1, 0.1)),
    "necrosis": ((-1.0, -0.8, 2.9, 0.7), (0.35, 0.4, 0.8, 0.5)),
    "enhancing": ((-0.55, 1.1, 1.2, 1.0), (0.25, 0.5, 0.5, 0.35)),
    "edema": ((-0.1, -0.05, 1.65, 1.45), (0.2, 0.2, 0.35, 0.25)),
}
# How far they vary within one case, and over how many voxels.
_TEXTURES = {
    "meninges": ((1.0, 1.0, 0.7, 0.9), 4),
    "gray": ((0.15, 0.15, 0.2, 0.2), 12),
    "white": ((0.12, 0.1, 0.12, 0.12), 12),
    "necrosis": ((0.25, 0.35, 0.8, 0.3), 5),
    "enhancing": ((0.25, 0.8, 0.5, 0.4), 4),
    "edema": ((0.2, 0.2, 0.5, 0.35), 7),
}
_VEIN = 4.0  # what contrast agent adds to blood, in the same unit

_SCANNERS = ((3650, 3600, 4000, 5300), (360, 500, 465, 370), (650, 700, 800, 500))  # brain means of the three groups
_DEVIATION = (0.25, 0.22, 0.40, 0.31)  # of the brain, as a share of its mean: much the same on every scanner


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A made-up case in memory, in the form in which BraTS-SSA gives out real ones."""

    name: str  # BraTS-SSA-9NNNN-SSS, index and seed: no real case has a number from 90000 on
    modalities: dict[str, FloatArray]  # (X, Y, Z) whole numbers, 0 outside the brain and never inside; RAS
    labels: LabelArray  # (X, Y, Z)
    affine: Affine


def make_phantom(seed: int, index: int = 0) -> Phantom:
    """Case number `index` of the endless series that `seed` names; the same pair gives the same voxels.

    240 x 240 x 155 voxels of 1 mm. Takes a few seconds and 0.6 GB.
    Raises ConfigError if `seed` is negative or `index` is not in [0, 10000).
    """
    if seed < 0 or not 0 <= index < _MOST_CASES:
        raise ConfigError(f"phantom seed must be >= 0 and index in [0, {_MOST_CASES}), got {seed} and {index}")
    rng = np.random.default_rng([seed, index])
    anatomy = make_anatomy(rng)
    brain = anatomy.depth > 0
    scanner = rng.integers(len(_SCANNERS))
    veins = _veins(rng, anatomy)
    modalities = {}
    for channel, modality in enumerate(MODALITIES):
        share = _acquired(rng, _contrast(rng, anatomy, channel, veins))
        values = np.rint(share * (_SCANNERS[scanner][channel] * rng.lognormal(0, 0.12)))
        if scanner > 0:  # only the reconstruction of the first group leaves negative values
            np.maximum(values, 1, out=values)
        values[values == 0] = 1  # zero means outside
        modalities[modality] = _in_volume(np.where(brain, values, np.float32(0)))
    labels = _in_volume(np.where(brain, anatomy.labels, np.uint8(0)))
    return Phantom(name=phantom_name(seed, index), modalities=modalities, labels=labels, affine=_AFFINE.copy())


def write_phantoms(out: Path, cases: int, seed: int) -> list[Path]:
    """The folders of `cases` new phantoms: OUT/NAME/NAME-{t1n,t1c,t2w,t2f,seg}.nii.gz, each complete or absent.

    Raises ConfigError for less than one case or a negative seed, CaseError if one of the folders exists already; it
    is left as it is.
    """
    if not 1 <= cases <= _MOST_CASES:
        raise ConfigError(f"number of phantoms must be in [1, {_MOST_CASES}], got {cases}")
    if seed < 0:
        raise ConfigError(f"phantom seed must be >= 0, got {seed}")
    folders = [out / phantom_name(seed, index) for index in range(cases)]
    for folder in folders:
        if folder.exists():
            raise CaseError(f"{folder} exists already: choose another folder, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    for index, folder in enumerate(folders):
        _write(make_phantom(seed, index), folder)
    return folders


def phantom_name(seed: int, index: int) -> str:
    """The name of phantom `index` of a series.

    Where BraTS counts a patient's visits stands the seed, so that phantoms of two seeds never share a name.
    """
    return f"BraTS-SSA-{_FIRST_NUMBER + index:05d}-{seed:03d}"


def is_phantom_name(name: str) -> bool:
    """Whether a case is called as phantoms are, and no real one is."""
    found = re.fullmatch(r"BraTS-SSA-(\d{5})-\d{3,}", name)
    return found is not None and int(found[1]) >= _FIRST_NUMBER


def _contrast(rng: np.random.Generator, anatomy: Anatomy, channel: int, veins: FloatArray) -> FloatArray:
    """What a perfect scanner would see in one modality, as a share of the brain's mean."""
    image = np.zeros(BRAIN_BOX, dtype=np.float32)
    for tissue, (middles, spreads) in _TISSUES.items():
        level = np.full(BRAIN_BOX, rng.normal(middles[channel], spreads[channel]), dtype=np.float32)
        if tissue in _TEXTURES:
            deviations, spacing = _TEXTURES[tissue]
            level += deviations[channel] * random_field(rng, BRAIN_BOX, spacing)
        image += getattr(anatomy, tissue) * level
    if MODALITIES[channel] == "t1c":
        image += _VEIN * veins
    coil = np.exp(0.07 * random_field(rng, BRAIN_BOX, 70))  # uneven sensitivity
    seen: FloatArray = (1 + _DEVIATION[channel] * rng.lognormal(0, 0.08) * image) * coil
    return seen


def _veins(rng: np.random.Generator, anatomy: Anatomy) -> FloatArray:
    """Shares of blood: here and there in the clefts and on the surface."""
    place = soft_step(random_field(rng, BRAIN_BOX, 5) - 1.5, 0.15)
    return place * (anatomy.csf + anatomy.meninges * (anatomy.depth > 0))


def _acquired(rng: np.random.Generator, image: FloatArray) -> FloatArray:
    """The image through a scanner: thick slices, noise, then interpolation back to 1 mm, as BraTS does it."""
    axis = rng.choice(3, p=[0.04, 0.04, 0.92])  # most are axial
    blur = rng.uniform(0.45, 0.8)
    scan, resample = [], []
    for along, edge in enumerate(BRAIN_BOX):
        thickness = rng.uniform(3, 6) if along == axis else 1.0
        middles = np.arange(0, edge + thickness, thickness)
        voxels = np.arange(edge)
        profile = np.exp(-0.5 * ((middles[:, None] - voxels) / (0.35 * thickness if along == axis else blur)) ** 2)
        scan.append((profile / profile.sum(axis=1, keepdims=True)).astype(np.float32))
        resample.append(np.maximum(1 - np.abs(voxels[:, None] - middles) / thickness, 0).astype(np.float32))
    seen = along_axes(image, scan)
    seen += rng.uniform(0.01, 0.03) * rng.standard_normal(seen.shape, dtype=np.float32)
    return along_axes(seen, resample)


def _in_volume(box: npt.NDArray[_Voxel]) -> npt.NDArray[_Voxel]:
    """The brain box at its place in an empty volume."""
    volume = np.zeros(_SHAPE, dtype=box.dtype)
    volume[tuple(slice(start, start + edge) for start, edge in zip(_BOX_START, BRAIN_BOX, strict=True))] = box
    return volume


def _write(phantom: Phantom, folder: Path) -> None:
    """The five files of a case; the folder appears when they are all there."""
    with os_errors_of(folder):
        partial = Path(tempfile.mkdtemp(prefix=f".{phantom.name}-", dir=folder.parent))
        try:
            segmentation = phantom.labels.astype(np.float32)  # so do the real ones
            for word, array in {**phantom.modalities, "seg": segmentation}.items():
                image = nibabel.Nifti1Image(array, phantom.affine)
                image.set_sform(phantom.affine, code=1)
                image.set_qform(phantom.affine, code=1)
                image.header.set_xyzt_units("mm")
                content = gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)  # no time: equal cases, equal bytes
                (partial / f"{phantom.name}-{word}.nii.gz").write_bytes(content)
            partial.chmod(0o755)  # mkdtemp keeps a folder to its owner
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
