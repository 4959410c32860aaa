"""A matrix along each axis, on arrays small enough to reckon with."""

import numpy as np

from ssa_fast.volume.axes import along_axes, hat_weights


def test_along_axes_applies_each_matrix_to_its_own_axis():
    volume = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    last = np.array([[0, 0, 0, 1]], dtype=np.float32)  # keeps only z = 3
    total = np.ones((1, 3), dtype=np.float32)  # sums over y
    swap = np.array([[0, 1], [1, 0]], dtype=np.float32)  # turns x round
    # z = 3: rows 3 7 11 and 15 19 23
    assert along_axes(volume, [swap, total, last]).tolist() == [[[57.0]], [[21.0]]]


def test_along_axes_of_identities_changes_nothing():
    volume = np.random.default_rng(0).standard_normal((3, 4, 5), dtype=np.float32)
    assert np.array_equal(along_axes(volume, [np.eye(edge, dtype=np.float32) for edge in volume.shape]), volume)


def test_hats_of_width_one_interpolate_and_keep_to_the_border():
    weights = hat_weights(3, np.array([-0.5, 0.25, 2.0, 2.4]))
    assert weights.tolist() == [[1, 0, 0], [0.75, 0.25, 0], [0, 0, 1], [0, 0, 1]]
