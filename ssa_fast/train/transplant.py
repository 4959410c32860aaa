"""A tumor of one training case in the brain of another: more pairs of tumor and surroundings than there are cases.

Sources: Zhang et al., "CarveMix", NeuroImage 2023 (a lesion with its surroundings goes to another brain, labels with
it); that intensities are matched to the new surroundings, as here, was added to it there for other scanners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssa_fast.volume.geometry import BoolArray, FloatArray

__all__ = ["Graft", "cut_graft", "transplanted"]

_MARGIN = 6  # voxels around a tumor that go along: what its intensities are matched by, and where it fades
_FADE = 3  # of them, over which it passes into the new brain
_TRIES = 60  # places that are looked at
_SEEN = 0.5  # share of a tumor's voxels that must lie in the patch
_INSIDE = 0.97  # share of those that must lie in the brain
_OVERLAP = 0.1  # and the most of them that may lie on tumor that is there already
_CONTRAST = (0.6, 1.7)  # of a new brain's spread around the tumor to that of the old one, at most
_LEAST = 50  # voxels, of a tumor, and of surroundings to be matched by


@dataclass(frozen=True, kw_only=True)
class Graft:
    """A tumor with its surroundings, cut out of its case."""

    array: FloatArray  # (C, X, Y, Z), zero outside the brain
    labels: npt.NDArray[np.uint8]  # (X, Y, Z)


def cut_graft(
    volume: npt.NDArray[np.float16],
    labels: npt.NDArray[np.uint8],
    voxels: Mapping[int, npt.NDArray[np.int64]],
    rng: np.random.Generator,
) -> Graft | None:
    """The tumor of a case with `_MARGIN` voxels around it, turned left to right by chance; None if there is hardly one.

    `volume` is (C, X, Y, Z), `voxels` some places of each label, which is where the tumor is looked for.
    """
    if sum(len(places) for places in voxels.values()) < _LEAST:
        return None
    places = np.concatenate([*voxels.values()])
    start = np.maximum(places.min(axis=0) - _MARGIN, 0)
    stop = np.minimum(places.max(axis=0) + 1 + _MARGIN, labels.shape)
    x, y, z = (slice(int(low), int(high)) for low, high in zip(start, stop, strict=True))
    array, kept = np.asarray(volume[:, x, y, z], dtype=np.float32), np.asarray(labels[x, y, z])
    if rng.random() < 0.5:  # left and right alone: a tumor keeps to its upper and lower side
        array, kept = np.flip(array, 1), np.flip(kept, 0)
    return Graft(array=array, labels=kept)


def transplanted(
    array: FloatArray, labels: npt.NDArray[np.int64], graft: Graft, rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.int64]] | None:
    """A patch (C, X, Y, Z) and its labels (X, Y, Z) with a graft in it; None where there is no place for it.

    The tumor lies in the brain and hardly on tumor that is there. Its intensities are moved and stretched, modality by
    modality, so that what surrounded it looks like what surrounds it now; at its border it passes over into the brain.
    A modality that is blank in one of the two leaves no place.
    """
    tumor = graft.labels > 0
    points = np.argwhere(tumor)
    middle = np.array(tumor.shape) // 2
    brain = (array != 0).any(axis=0)
    start = _place(brain, labels > 0, points - middle, rng)
    if start is None:
        return None
    shift = start - middle
    low = np.maximum(shift, 0)
    high = np.minimum(shift + tumor.shape, brain.shape)
    here = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    there = tuple(slice(int(a), int(b)) for a, b in zip(low - shift, high - shift, strict=True))
    given = graft.array[:, there[0], there[1], there[2]]
    weight = _faded(tumor)[there] * brain[here] * (given != 0).any(axis=0)
    cut, old = tumor[there], labels[here]
    weight[(old > 0) & ~cut] = 0  # what keeps its label keeps its looks
    ring = (weight > 0) & ~cut  # surroundings in both brains, without tumor in either
    if ring.sum() < _LEAST:
        return None
    changed, new_labels = array.copy(), labels.copy()
    for target, source in zip(changed, given, strict=True):
        region = target[here]
        if region.any() != source.any():  # labels would stand on a modality that shows no tumor
            return None
        if not source.any():
            continue
        spread = np.clip(region[ring].std() / max(float(source[ring].std()), 1e-3), *_CONTRAST)
        matched = (source - source[ring].mean()) * spread + region[ring].mean()
        target[here] = np.where(weight > 0, region + weight * (matched - region), region)
    grown = new_labels[here]
    grown[cut & (weight > 0)] = graft.labels[there][cut & (weight > 0)]
    return changed, new_labels


def _place(
    brain: BoolArray, tumor: BoolArray, points: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64] | None:
    """A voxel of the brain around which the `points`, counted from it, lie in the brain; None if none was found."""
    inside = np.argwhere(brain[::2, ::2, ::2]) * 2  # an eighth of the places will do
    if not len(inside):
        return None
    some = points[rng.permutation(len(points))[:1000]]
    edges = np.array(brain.shape)
    for _ in range(_TRIES):
        start = inside[int(rng.integers(len(inside)))]
        places = some + start
        known = places[((places >= 0) & (places < edges)).all(axis=1)]
        index = tuple(known.T)
        if len(known) < _SEEN * len(some):
            continue
        if brain[index].sum() >= _INSIDE * len(known) and tumor[index].sum() <= _OVERLAP * len(known):
            found: npt.NDArray[np.int64] = start
            return found
    return None


def _faded(tumor: BoolArray) -> FloatArray:
    """1 in the tumor, falling to 0 over `_FADE` voxels around it: a step for each, by the six neighbors."""
    weight = tumor.astype(np.float32)
    grown = tumor
    for step in range(1, 1 + _FADE):
        wider = grown.copy()
        for axis in range(3):
            ahead, behind = np.roll(grown, 1, axis), np.roll(grown, -1, axis)
            edge = [slice(None)] * 3
            edge[axis] = slice(0, 1)
            ahead[tuple(edge)] = False
            edge[axis] = slice(-1, None)
            behind[tuple(edge)] = False
            wider |= ahead | behind
        weight[wider & ~grown] = 1 - step / (1 + _FADE)
        grown = wider
    return weight
