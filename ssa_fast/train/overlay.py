"""A held-out slice in colours: the network's labels beside the reference."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ssa_fast.labels import LABEL_COLORS
from ssa_fast.volume.geometry import FloatArray, LabelArray
from ssa_fast.volume.slices import radiological, tumor_slice

__all__ = ["OVERLAY_MODALITY", "RgbArray", "overlay"]

RgbArray: TypeAlias = npt.NDArray[np.uint8]  # (rows, columns, 3)
_Shades: TypeAlias = npt.NDArray[np.float32]  # the same from 0 to 1

OVERLAY_MODALITY = "t1c"  # shows the core's border, where networks err most
_FILL = 0.45  # opacity of a label
_WINDOW_PERCENTILES = (1, 99.5)  # of the slice's brain voxels, shown as black and white
_GAP = 4  # black columns between the two


def overlay(volume: npt.NDArray[np.generic], reference: LabelArray, predicted: LabelArray) -> RgbArray:
    """The axial slice with most reference, three times: bare, under the reference, under the prediction.

    All are (X, Y, Z) in RAS axes, 0 outside the brain. Radiological convention: the patient's right on the left.
    """
    z = tumor_slice(reference, np.asarray(volume != 0))
    gray = np.asarray(radiological(_windowed(np.asarray(volume[:, :, z], dtype=np.float32))), dtype=np.float32)
    bare = np.repeat(gray[..., np.newaxis], 3, axis=2)
    panels = [bare, *(_painted(bare, radiological(labels[:, :, z])) for labels in (reference, predicted))]
    gap = np.zeros((bare.shape[0], _GAP, 3))
    return np.asarray(np.hstack([panels[0], gap, panels[1], gap, panels[2]]) * 255 + 0.5, dtype=np.uint8)


def _windowed(plane: FloatArray) -> FloatArray:
    voxels = plane[plane != 0]
    if not voxels.size:
        return plane
    low, high = np.percentile(voxels, _WINDOW_PERCENTILES)
    return np.where(plane != 0, np.clip((plane - low) / (high - low or 1), 0, 1), 0).astype(np.float32)


def _painted(bare: _Shades, labels: npt.NDArray[np.generic]) -> _Shades:
    painted: _Shades = bare.copy()
    for label, color in LABEL_COLORS.items():
        paint = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        painted[labels == label] = (1 - _FILL) * bare[labels == label] + _FILL * paint
    return painted
