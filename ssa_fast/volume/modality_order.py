"""Which modality an image is by its contrast: what tells a swap, or one image given twice, without any label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ssa_fast.labels import MODALITIES
from ssa_fast.volume.geometry import BoolArray, FloatArray

__all__ = ["LEAST_BRAIN_VOXELS", "Contrasts", "contrasts_of", "same_images"]

LEAST_BRAIN_VOXELS = 300_000
"""Of 1 mm, in a brain that is judged by its contrast: a third of a small adult's. Less is cut off, or made up."""

_STEP = 3  # every third voxel along each axis: contrasts are of tissues, not of voxels
_RADIUS = 3  # of those voxels: against a cube of 21 mm a vessel stands out, and shading does not
_DEPTH = 3  # of those voxels, below the brain's surface: what a mask cuts there says nothing
_FEWEST_DEEP = 2000
_TISSUE = (0.05, 0.75)  # quantiles of t2w that hold gray and white matter: liquor and most oedema lie above
_CLIP = 6.0  # deviations: a single bright voxel must not decide
_SAME = 0.995  # correlation of two images from which they are one: 0.93 is the most in fifteen BraTS-SSA cases
_T1N, _T1C, _T2W, _T2F = range(len(MODALITIES))

# By how much a rule must be broken: some 0.4 of the narrowest margin of fifteen cases, in the unit of each statistic.
_SLACK_LIQUOR = 0.06
_SLACK_TISSUE = 0.035
_SLACK_VESSELS = 0.12


@dataclass(frozen=True)
class Contrasts:
    """What four images of one brain tell of which is which, a row and a column an image in the order given."""

    liquor: FloatArray  # (C, C): skewness of row minus column over the brain; antisymmetric
    tissue: FloatArray  # (C, C, C): [t2w] -> correlations of all pairs over what is tissue if that image is t2w
    vessels: FloatArray  # (C, C): skewness of row minus column in what is small; antisymmetric

    def broken(self, order: Sequence[int], slack: float = 1.0) -> tuple[str, ...]:
        """The rules that are broken if modality i is in truth the image `order[i]`; `slack` 0 takes the bare sign.

        Liquor is bright on T2 alone, so t2w minus any other image is skewed to the bright side. In gray and white
        matter t2f goes with t2w more than either T1 does. Vessels, and a tumor that takes up contrast agent, are bright
        and small, so in what is small t1c minus t1n is skewed to the bright side.
        """
        t1n, t1c, t2w, t2f = (order[place] for place in (_T1N, _T1C, _T2W, _T2F))
        others = {"t1n": t1n, "t1c": t1c, "t2f": t2f}
        darker = [name for name, image in others.items() if self.liquor[t2w, image] < -slack * _SLACK_LIQUOR]
        broken = [f"liquor is not brighter on t2w than on {' and '.join(darker)}"] if darker else []
        pairs = self.tissue[t2w]
        if pairs[t2w, t2f] - max(pairs[t2w, t1n], pairs[t2w, t1c]) < -slack * _SLACK_TISSUE:
            broken.append("tissue on t2w looks less like that on t2f than like that on a T1")
        if self.vessels[t1c, t1n] < -slack * _SLACK_VESSELS:
            broken.append("vessels are darker on t1c than on t1n")
        return tuple(broken)

    def likely_order(self) -> tuple[str, ...]:
        """What each image looks like, in the order given: the one order that breaks no rule by its sign."""
        images = range(len(MODALITIES))
        t2w = max(images, key=lambda image: min(self.liquor[image, other] for other in images if other != image))
        rest = [image for image in images if image != t2w]
        t2f = max(rest, key=lambda image: self.tissue[t2w][t2w, image])
        one, other = (image for image in rest if image != t2f)
        t1n, t1c = (one, other) if self.vessels[other, one] > 0 else (other, one)
        names = {t1n: "t1n", t1c: "t1c", t2w: "t2w", t2f: "t2f"}
        return tuple(names[image] for image in images)


def contrasts_of(array: FloatArray, foreground: BoolArray) -> Contrasts | None:
    """The contrasts of a brain (C, X, Y, Z), z-scored; None for one too small to be judged.

    Voxels are 1 mm. `foreground` is (X, Y, Z). Takes some 0.04 s a brain.
    """
    if np.count_nonzero(foreground) < LEAST_BRAIN_VOXELS:
        return None
    images = np.ascontiguousarray(array[:, ::_STEP, ::_STEP, ::_STEP])
    inside = (images != 0).all(axis=0)
    fine = _fine(images, inside)
    if fine.shape[1] < _FEWEST_DEEP:
        return None
    values = images[:, inside]  # (C, voxels)
    count = len(MODALITIES)
    liquor, vessels = (np.zeros((count, count), dtype=np.float32) for _ in range(2))
    for one, other in combinations(range(count), 2):
        liquor[one, other] = _skewness(values[one] - values[other], None)
        vessels[one, other] = _skewness(fine[one] - fine[other], _CLIP)
    tissue = np.stack([_tissue_correlation(values, image) for image in range(count)])
    return Contrasts(liquor=liquor - liquor.T, tissue=tissue, vessels=vessels - vessels.T)


def same_images(array: FloatArray) -> list[tuple[str, str]]:
    """Pairs of modalities that are one image, if perhaps scaled or rounded otherwise; (C, X, Y, Z), z-scored."""
    images = array[:, ::_STEP, ::_STEP, ::_STEP].reshape(len(array), -1)
    lengths = np.sqrt(np.einsum("iv,iv->i", images, images))
    pairs = combinations(range(len(MODALITIES)), 2)
    return [
        (MODALITIES[one], MODALITIES[other])
        for one, other in pairs
        if images[one] @ images[other] > _SAME * lengths[one] * lengths[other]
    ]


def _fine(images: FloatArray, inside: BoolArray) -> FloatArray:
    """Voxels deep in the brain less the mean of the cube around each, with deviation 1: (C, voxels)."""
    deep = _sums(inside.astype(np.float32), _DEPTH) > (2 * _DEPTH + 1) ** 3 - 0.5
    share = np.float32(1 / (2 * _RADIUS + 1) ** 3)
    rows = [image[deep] - share * _sums(image, _RADIUS)[deep] for image in images]
    fine: FloatArray = np.stack(rows)
    fine /= np.maximum(fine.std(axis=1, keepdims=True), np.float32(1e-12))
    return fine


def _sums(array: FloatArray, radius: int) -> FloatArray:
    """The sum over the cube of 2 `radius` + 1 voxels around each; zeros lie beyond the border."""
    for axis in range(3):
        source, array = array, array.copy()
        for shift in range(1, radius + 1):
            upper, lower = ([slice(None)] * 3 for _ in range(2))
            upper[axis], lower[axis] = slice(shift, None), slice(None, -shift)
            array[tuple(lower)] += source[tuple(upper)]
            array[tuple(upper)] += source[tuple(lower)]
    return array


def _skewness(values: FloatArray, clip: float | None) -> float:
    centered = values - values.mean()
    deviation = centered.std()
    if not deviation > 0:
        return 0.0
    centered /= deviation
    if clip is not None:
        np.clip(centered, -clip, clip, out=centered)
    return float((centered * centered * centered).mean())


def _tissue_correlation(values: FloatArray, t2w: int) -> FloatArray:
    """Correlation of all images over the middle of one of them, were it t2w: (C, C)."""
    reference = values[t2w]
    low, high = np.quantile(reference, _TISSUE)
    middle = values[:, (reference > low) & (reference < high)]
    middle = middle - middle.mean(axis=1, keepdims=True)
    lengths = np.maximum(np.sqrt(np.einsum("iv,iv->i", middle, middle)), np.float32(1e-12))
    correlation: FloatArray = (middle @ middle.T) / np.outer(lengths, lengths)
    return correlation
