"""Where a tumour lies and what form it has: numbers of one segmentation in space, and along the body's axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.labels import LABEL_NAMES
from ssa_fast.metrics.lesion import SMALLEST_MM3
from ssa_fast.metrics.overlap import TARGETS
from ssa_fast.metrics.surface import surface_mm2
from ssa_fast.volume.case import CaseFiles, errors_of_case, read_case, same_grid
from ssa_fast.volume.components import components
from ssa_fast.volume.geometry import BoolArray, LabelArray, bounding_box, spacing_mm, to_ras
from ssa_fast.volume.nifti import Volume, read_labels

__all__ = ["Anatomy", "Shape", "Side", "anatomy", "case_anatomies"]

Side = Literal["left", "right", "both"]

_ONE_SIDED = 0.9  # of a volume on one side of the middle: the rest is taken for its rim


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One label or region that is not empty."""

    volume_ml: float
    surface_mm2: float  # by marching cubes
    box_mm: tuple[float, float, float]  # extent from left to right, back to front, bottom to top
    centroid_mm: tuple[float, float, float]  # in the coordinates of the file's affine, RAS+
    lesions: int  # parts of more than `SMALLEST_MM3` that touch by no corner
    left_share: float  # of the volume, on the left of the middle of the brain's box

    @property
    def side(self) -> Side:
        """The patient's left or right where nine tenths lie there, else both."""
        if self.left_share >= _ONE_SIDED:
            return "left"
        return "right" if self.left_share <= 1 - _ONE_SIDED else "both"


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """A segmentation in numbers."""

    shapes: Mapping[str, Shape | None]  # NCR ED ET WT TC; None where it is empty
    areas_mm2: Mapping[str, npt.NDArray[np.float64]]  # label -> its area in each axial slice, from below


def anatomy(labels: Volume, brain: BoolArray) -> Anatomy:
    """The numbers of a label volume; `brain` (X, Y, Z), in the axes of the file too, tells where the middle is.

    The middle is that of the brain's box from left to right, in whole voxels of the file's grid: a head that is turned
    or shifted to one side, and a cut-off brain, move it. Raises ShapeError if the brain is empty.
    """
    ras = np.asarray(to_ras(labels.array, labels.affine), dtype=np.uint8)
    box = bounding_box(np.asarray(to_ras(brain, labels.affine), dtype=np.bool_))
    middle = (box.start[0] + box.stop[0]) / 2
    shapes = {
        target: _shape(np.isin(ras, values), np.isin(labels.array, values), labels, middle)
        for target, values in TARGETS.items()
    }
    return Anatomy(shapes=shapes, areas_mm2=_areas(ras, _ras_spacing(labels)))


def case_anatomies(files: CaseFiles, prediction: Path) -> dict[str, Anatomy]:
    """A case in numbers: its `reference`, where there is one, and its `prediction`.

    Raises CaseError if the case or the prediction cannot be read, or they are on different grids.
    """
    case = read_case(files, is_any_spacing=True)
    with errors_of_case(files.name):
        brain = np.logical_or.reduce([volume.array != 0 for volume in case.volumes])
        paths = {"reference": files.reference, "prediction": prediction}
        found = {}
        for which, path in paths.items():
            if path is not None:
                labels = read_labels(path)
                same_grid(labels, case.grid)
                found[which] = anatomy(labels, brain)
    return found


def _shape(mask: BoolArray, in_file: BoolArray, labels: Volume, middle: float) -> Shape | None:
    """`mask` is in RAS axes, `in_file` the same in the axes of the file."""
    if not mask.any():
        return None
    ras_spacing = _ras_spacing(labels)
    voxel_mm3 = float(np.prod(ras_spacing))
    box = bounding_box(mask)
    x, y, z = (edge * step for edge, step in zip(box.shape, ras_spacing, strict=True))
    place = labels.affine @ [*np.argwhere(in_file).mean(axis=0), 1]
    along_x = np.count_nonzero(mask, axis=(1, 2))
    left = np.clip(middle - np.arange(len(along_x)), 0, 1)  # share of each voxel's width; the middle may halve one
    parts = components(mask[box.slices]).voxels * voxel_mm3
    return Shape(
        volume_ml=float(along_x.sum()) * voxel_mm3 / 1000,
        surface_mm2=surface_mm2(mask, ras_spacing),
        box_mm=(x, y, z),
        centroid_mm=(float(place[0]), float(place[1]), float(place[2])),
        lesions=int((parts > SMALLEST_MM3).sum()),
        left_share=float((along_x * left).sum() / along_x.sum()),
    )


def _areas(ras: LabelArray, ras_spacing: tuple[float, float, float]) -> dict[str, npt.NDArray[np.float64]]:
    pixel = ras_spacing[0] * ras_spacing[1]
    return {name: np.count_nonzero(ras == label, axis=(0, 1)) * pixel for label, name in LABEL_NAMES.items()}


def _ras_spacing(labels: Volume) -> tuple[float, float, float]:
    """Voxel edges in mm from left to right, back to front, bottom to top."""
    order = nibabel.orientations.io_orientation(labels.affine)[:, 0].astype(int)
    edges = dict(zip(order.tolist(), spacing_mm(labels.affine), strict=True))
    return edges[0], edges[1], edges[2]
