"""The held-out slice in colours: which slice, which way up, whose labels where."""

from __future__ import annotations

import numpy as np

from ssa_fast.labels import ED, ET, LABEL_COLORS
from ssa_fast.train.overlay import _FILL, _GAP, overlay
from ssa_fast.volume.geometry import LabelArray

SHAPE = (5, 4, 6)  # X Y Z


def _labels(label: int, *voxels: tuple[int, int, int]) -> LabelArray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for voxel in voxels:
        labels[voxel] = label
    return labels


def _color(label: int, gray: float) -> list[int]:
    paint = [int(LABEL_COLORS[label][place : place + 2], 16) for place in (1, 3, 5)]
    return [round((1 - _FILL) * gray * 255 + _FILL * value) for value in paint]


def test_three_panels_bare_then_reference_then_prediction_with_the_patients_right_on_the_left() -> None:
    volume = np.zeros(SHAPE, dtype=np.float32)
    volume[:, :, 2] = -1.0  # black, and yet brain
    volume[4, 3, 2] = 3.0  # white: right, anterior
    volume[0, 0, 2] = 0.0  # outside the brain
    reference, predicted = _labels(ET, (4, 3, 2), (1, 1, 2), (0, 0, 5)), _labels(ED, (0, 0, 2))
    picture = overlay(volume, reference, predicted)
    columns, rows, _ = SHAPE
    assert picture.dtype == np.uint8
    assert picture.shape == (rows, 3 * columns + 2 * _GAP, 3)
    panels = [picture[:, place * (columns + _GAP) :][:, :columns] for place in range(3)]
    assert panels[0][0, 0].tolist() == [255, 255, 255]
    assert panels[0].any(axis=2).sum() == 1
    assert panels[1][0, 0].tolist() == _color(ET, 1.0)
    assert panels[1][rows - 1 - 1, columns - 1 - 1].tolist() == _color(ET, 0.0)
    assert panels[1].any(axis=2).sum() == 2
    assert panels[2][rows - 1, columns - 1].tolist() == _color(ED, 0.0)
    assert panels[2][0, 0].tolist() == [255, 255, 255]


def test_the_slice_is_that_with_most_reference_and_not_most_prediction() -> None:
    volume = np.ones(SHAPE, dtype=np.float32)
    reference = _labels(ET, (1, 1, 3), (1, 2, 3), (1, 1, 4))
    predicted = _labels(ET, (1, 1, 0), (1, 2, 0), (2, 2, 0), (2, 1, 3))
    picture = overlay(volume, reference, predicted)
    right = picture[:, 2 * (SHAPE[0] + _GAP) :]
    assert (right == _color(ET, 0.0)).all(axis=2).sum() == 1


def test_a_case_without_tumour_or_a_patch_without_brain_is_drawn_too() -> None:
    nothing = np.zeros(SHAPE, dtype=np.uint8)
    assert overlay(np.ones(SHAPE, dtype=np.int16), nothing, nothing).shape[2] == 3
    brain = np.zeros(SHAPE, dtype=np.float32)
    brain[:, :, 1] = 1
    overlay(brain, nothing, nothing)
