"""The slice that a picture shows, and which way up it is."""

from __future__ import annotations

import numpy as np

from ssa_fast.volume.slices import radiological, tumor_slice


def test_the_slice_has_most_tumour_and_is_the_middle_of_equals() -> None:
    labels = np.zeros((4, 4, 6), dtype=np.uint8)
    labels[0, 0, 1] = 3
    labels[:2, 0, 2] = 1  # two voxels
    labels[:2, 0, 3] = (2, 3)  # two of greater value: as many
    labels[:2, 0, 4] = 1
    assert tumor_slice(labels, np.ones(labels.shape, dtype=np.bool_)) == 3


def test_without_tumour_the_slice_is_the_middle_of_the_brain_and_holds_brain() -> None:
    brain = np.zeros((4, 4, 9), dtype=np.bool_)
    brain[1, 1, [3, 7, 8]] = True
    assert tumor_slice(np.zeros(brain.shape, dtype=np.uint8), brain) == 7


def test_a_radiological_plane_has_the_patients_right_on_the_left_and_anterior_up() -> None:
    plane = np.zeros((2, 3))  # X to the right, Y to anterior
    plane[1, 2] = 1  # right, anterior
    plane[0, 0] = 2  # left, posterior
    np.testing.assert_array_equal(radiological(plane), [[1, 0], [0, 0], [0, 2]])
