"""What a case is before its network runs, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ssa_fast.backends.base import Device
from ssa_fast.errors import ConfigError
from ssa_fast.infer.doubt import Doubt
from ssa_fast.infer.maps import Maps
from ssa_fast.infer.plan import Plan
from ssa_fast.infer.quality import Quality
from ssa_fast.labels import LABEL_NAMES
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import Affine, FloatArray, LabelArray
from ssa_fast.volume.nifti import Volume, write_labels, write_maps
from ssa_fast.volume.preprocess import Brain
from ssa_fast.volume.resample import Resampled

__all__ = ["Prepared", "Segmentation"]


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """The labels of one case, and how they came about."""

    name: str
    labels: LabelArray  # (X, Y, Z), in the shape and axes of the case's files
    grid: Volume  # whose shape, affine and header they share
    plan: Plan
    device: Device
    seconds: Mapping[str, float]  # a stage
    overridden: tuple[str, ...] = ()  # what was suspected of the case, and segmented all the same
    maps: Maps | None = None  # where maps were asked for
    doubt: Doubt | None = None  # where uncertainty was
    quality: Quality = field(default_factory=Quality)  # what was asked for
    postprocessing: str = "none"  # profile that mended the labels

    @property
    def probabilities(self) -> FloatArray:
        """The probability of each label, (K, X, Y, Z), in the shape and axes of the case's files: made when asked for.

        Raises ConfigError if it was segmented without.
        """
        if self.maps is None:
            raise ConfigError(f"case {self.name}: was segmented without probabilities: ask for them first")
        return self.maps.probabilities()

    @property
    def affine(self) -> Affine:
        """From voxels to mm (4, 4), of the case's files."""
        return self.grid.affine

    def save(self, path: str | Path) -> str:
        """Write the labels as NIfTI, whole or not at all; what comes back is the file's SHA-256. Raises OSError."""
        return write_labels(Path(path), self.labels, like=self.grid)

    def save_maps(self, folder: Path) -> dict[str, Path]:
        """Write each map that was asked for as `NAME-MAP.nii.gz`, whole or not at all. Raises OSError."""
        if self.maps is None:
            return {}
        paths = {}
        for kind, maps in self.maps.asked_for(self.quality).items():
            paths[kind] = folder / f"{self.name}-{kind}.nii.gz"
            write_maps(paths[kind], maps, like=self.grid, kind=self.quality.map_type)
        return paths

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of each label in millilitres, by the voxels of the case's files; to a hundredth of a mm3."""
        counts = np.bincount(self.labels.ravel(order="K"), minlength=1 + max(LABEL_NAMES))
        voxel_mm3 = abs(float(np.linalg.det(self.affine[:3, :3])))
        return {name: round(int(counts[label]) * voxel_mm3, 2) / 1000 for label, name in LABEL_NAMES.items()}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A case as the network will read it; the voxels of its files are let go."""

    case: Case  # without voxels
    brain: Brain
    seconds: Mapping[str, float]  # a stage
    resampled: Resampled | None = None  # without voxels; where the brain was brought to 1 mm
    overridden: tuple[str, ...] = ()
    reading_bytes: int  # memory that reading and preparing took at most, by what they do

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        masks = [self.brain.foreground, *([self.resampled.brain] if self.resampled else [])]
        return self.brain.array.nbytes + sum(mask.nbytes for mask in masks)
