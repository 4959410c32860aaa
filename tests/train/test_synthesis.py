"""New contrasts for old labels: what changes and what may not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ssa_fast.train.synthesis import _smoothed, synthesized, tissues
from ssa_fast.volume.geometry import FloatArray


@pytest.fixture
def patch() -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Two tissues and a tumor of two labels in a brain with a frame of 2 around it."""
    rng = np.random.default_rng(0)
    array = np.zeros((4, 20, 20, 20), dtype=np.float32)
    labels = np.zeros((20, 20, 20), dtype=np.int64)
    labels[6:12, 6:12, 6:12] = 2
    labels[8:10, 8:10, 8:10] = 3
    inner = (slice(None), *[slice(2, 18)] * 3)
    array[inner] = rng.normal(0, 0.1, (4, 16, 16, 16))
    array[:, 2:18, 2:18, 2:10] += 1
    array[:, labels > 0] += 3
    return array, labels


def test_contrasts_are_new_and_the_outside_mean_and_deviation_are_not(
    patch: tuple[FloatArray, npt.NDArray[np.int64]],
) -> None:
    array, labels = patch
    before, brain = array.copy(), (array != 0).any(axis=0)
    changed = synthesized(array, labels, np.random.default_rng(1))
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    np.testing.assert_array_equal(array, before)  # the caller's patch
    assert not changed[:, ~brain].any()
    for new, old in zip(changed, array, strict=True):
        assert float(new[brain].mean()) == pytest.approx(float(old[brain].mean()), abs=1e-3)
        assert float(new[brain].std()) == pytest.approx(float(old[brain].std()), rel=1e-3)


def test_labels_stand_out_from_each_other_by_chance(patch: tuple[FloatArray, npt.NDArray[np.int64]]) -> None:
    array, labels = patch
    drawn = [synthesized(array, labels, np.random.default_rng(seed)) for seed in range(12)]
    for channel in range(4):
        contrasts = [float(one[channel][labels == 3].mean() - one[channel][labels == 2].mean()) for one in drawn]
        assert np.std(contrasts) > 0.3  # 0.2 to 1 times the root of two, and what smoothing leaves


def test_equal_seeds_give_equal_images(patch: tuple[FloatArray, npt.NDArray[np.int64]]) -> None:
    first, second, third = (synthesized(*patch, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_a_blank_modality_and_an_empty_patch_stay_blank(patch: tuple[FloatArray, npt.NDArray[np.int64]]) -> None:
    array, labels = patch
    array[1] = 0
    assert not synthesized(array, labels, np.random.default_rng(0))[1].any()
    nothing = np.zeros_like(array)
    assert not synthesized(nothing, labels, np.random.default_rng(0)).any()


def test_a_patch_that_is_all_tumor_is_changed_too(patch: tuple[FloatArray, npt.NDArray[np.int64]]) -> None:
    array, labels = patch
    labels[:] = 1
    assert not np.array_equal(synthesized(array, labels, np.random.default_rng(0)), array)


def test_tissues_are_found_by_their_intensities() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 5000)
    middles = np.array([[0, 0], [5, 0], [0, 5]], dtype=np.float32)
    values = (middles[truth] + rng.normal(0, 0.3, (5000, 2))).T.astype(np.float32)
    best = 0.0
    for seed in range(5):  # k-means finds three of three groups but by chance
        found = tissues(values, 3, np.random.default_rng(seed))
        pairs = {(int(a), int(b)) for a, b in zip(truth, found, strict=True)}
        best = max(best, 3 / len(pairs))
    assert best == 1
    assert tissues(values[:, :2], 5, rng).max() <= 1  # no more tissues than voxels


def test_smoothing_keeps_a_constant_brain_and_passes_over_a_step() -> None:
    brain = np.zeros((10, 6, 6), dtype=bool)
    brain[1:9, 1:5, 1:5] = True
    np.testing.assert_allclose(_smoothed(np.where(brain, 3.0, 0.0).astype(np.float32), brain)[brain], 3, rtol=1e-6)
    step = np.where(brain, np.arange(10)[:, None, None] >= 5, 0).astype(np.float32)
    assert _smoothed(step, brain)[:, 2, 2].tolist() == pytest.approx([0, 0, 0, 0, 0.25, 0.75, 1, 1, 1, 0])
