"""Images drawn from label maps: brains of scanners that nobody has trained on.

Source: Billot et al., "SynthSeg", Medical Image Analysis 2023: a random intensity for each label, blurred, with noise.
Of a brain only its tumor is labeled here, so the rest is parted by intensity first, and, for modalities have a meaning
that a network of ours is told, levels are drawn around those that were seen, not from nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssa_fast.volume.geometry import BoolArray, FloatArray

__all__ = ["synthesized", "tissues"]

_TISSUES = (3, 7)  # clusters of the brain without tumor, fewest and most and one
_SAMPLE = 3000  # voxels that clusters are found by
_ROUNDS = 8  # of k-means
_STRENGTH = (0.2, 1.0)  # deviation of a label's new level from the one seen, in z-scores
_TEXTURE = (0.2, 1.0)  # share that is kept of what a voxel differs from its label's level
_NOISE = (0.0, 0.15)


def synthesized(array: FloatArray, labels: npt.NDArray[np.int64], rng: np.random.Generator) -> FloatArray:
    """A patch (C, X, Y, Z) in new contrasts, for labels (X, Y, Z) that stay. Zero outside the brain stays zero.

    Each label and each tissue gets a level of its own in each modality; of what voxels differ from it a share is kept,
    so that borders and textures are those of a brain. Mean and deviation of each modality stay.
    """
    brain = (array != 0).any(axis=0)
    if not brain.any():
        return array
    values = array[:, brain].astype(np.float32)  # (C, n)
    parts = _parts(values, labels[brain], rng)  # (n,)
    count = int(parts.max()) + 1
    sizes = np.maximum(np.bincount(parts, minlength=count), 1)
    strength = rng.uniform(*_STRENGTH)
    result = np.zeros_like(array, dtype=np.float32)
    for channel, seen in enumerate(values):
        if not seen.any():  # a blank modality stays blank
            continue
        levels = np.bincount(parts, weights=seen, minlength=count) / sizes
        drawn = levels + strength * rng.standard_normal(count)
        texture = rng.uniform(*_TEXTURE)
        noise = rng.uniform(*_NOISE) * rng.standard_normal(len(seen), dtype=np.float32)
        new = drawn[parts] + texture * (seen - levels[parts]) + noise
        smooth = _smoothed(_in_place(new.astype(np.float32), brain), brain)[brain]
        spread = seen.std() / max(float(smooth.std()), 1e-6)
        result[channel, brain] = (smooth - smooth.mean()) * spread + seen.mean()
    return result


def tissues(values: FloatArray, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Voxels (C, n) in up to `count` clusters by their intensities, counted from 0: k-means on some of them."""
    sample = values[:, rng.permutation(values.shape[1])[:_SAMPLE]].T  # (m, C)
    centers = sample[rng.choice(len(sample), min(count, len(sample)), replace=False)]
    for _ in range(_ROUNDS):
        nearest = _nearest(sample.T, centers)
        for place in range(len(centers)):
            if (nearest == place).any():
                centers[place] = sample[nearest == place].mean(axis=0)
    return _nearest(values, centers)


def _parts(values: FloatArray, labels: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """What each voxel is: its label, or behind those a tissue of the healthy brain."""
    healthy = labels == 0
    parts: npt.NDArray[np.int64] = labels.copy()
    if healthy.any():
        parts[healthy] = 1 + int(labels.max()) + tissues(values[:, healthy], int(rng.integers(*_TISSUES)), rng)
    return parts


def _nearest(values: FloatArray, centers: FloatArray) -> npt.NDArray[np.int64]:
    """The nearest center (k, C) of each of (C, n)."""
    distance = (centers**2).sum(axis=1)[:, None] - 2 * centers @ values  # (k, n), but for the values' own square
    return np.asarray(distance.argmin(axis=0), dtype=np.int64)


def _in_place(values: FloatArray, brain: BoolArray) -> FloatArray:
    volume = np.zeros(brain.shape, dtype=np.float32)
    volume[brain] = values
    return volume


def _smoothed(volume: FloatArray, brain: BoolArray) -> FloatArray:
    """Borders of labels pass over into each other: the mean along each axis by 1 2 1, inside the brain alone."""
    weight = brain.astype(np.float32)
    for axis in range(3):
        volume, weight = (_along(array, axis) for array in (volume, weight))
    return np.asarray(np.where(brain, volume / np.maximum(weight, 1e-6), 0), dtype=np.float32)


def _along(array: FloatArray, axis: int) -> FloatArray:
    """1 2 1 along one axis, with nothing beyond the ends."""
    result = 0.5 * array
    ahead: list[slice] = [slice(None)] * 3
    behind: list[slice] = [slice(None)] * 3
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    result[tuple(ahead)] += 0.25 * array[tuple(behind)]
    result[tuple(behind)] += 0.25 * array[tuple(ahead)]
    return result
