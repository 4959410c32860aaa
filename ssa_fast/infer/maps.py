"""Maps beside a case's labels: how probable each is, how undecided the answer, where its votes disagree."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import ConfigError
from ssa_fast.infer.doubt import Doubt
from ssa_fast.infer.quality import Quality
from ssa_fast.labels import REGIONS
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import BoolArray, Box, FloatArray, LabelArray
from ssa_fast.volume.postprocess import restore_labels, restore_map
from ssa_fast.volume.preprocess import Brain
from ssa_fast.volume.probabilities import entropy, soft_dice, softmax
from ssa_fast.volume.resample import Resampled, labels_on_files, map_on_files

__all__ = ["BoxPlace", "Maps", "VoteArrays"]

HalfArray: TypeAlias = npt.NDArray[np.float16]
_SLAB = 16  # voxels along X that are worked out at once


@dataclass(frozen=True, kw_only=True)
class BoxPlace:
    """Where the network's padded box lies in a case's files."""

    inner: Box  # of the brain in the padded box
    brain: Brain  # its box and foreground; its images may be gone
    case: Case
    resampled: Resampled | None

    def foreground(self, shape: tuple[int, int, int]) -> BoolArray:
        """Where the padded box, of this shape, holds brain."""
        inside = np.zeros(shape, dtype=np.bool_)
        inside[self.inner.slices] = self.brain.foreground
        return inside

    def labels(self, labels: LabelArray) -> LabelArray:
        """Labels of the padded box (X, Y, Z), in shape and axes of the files."""
        if self.resampled is None:
            return restore_labels(labels, self.inner, self.brain, self.case)
        return labels_on_files(restore_labels(labels, self.inner, self.brain, self.resampled.case), self.resampled)

    def map(self, values: FloatArray, outside: float) -> FloatArray:
        """A map of the padded box (X, Y, Z), in shape and axes of the files; `outside` where there is no brain."""
        if self.resampled is None:
            return restore_map(values, self.inner, self.brain, self.case, outside)
        restored = restore_map(values, self.inner, self.brain, self.resampled.case, outside)
        return map_on_files(restored, self.resampled, outside)


class VoteArrays:
    """What is kept of the network's answer over its padded box, two bytes a value."""

    def __init__(self, foreground: BoolArray, classes: int, votes: int = 1) -> None:
        """`foreground` is (X, Y, Z); above one vote, what `Ensemble.logits_and_doubt` adds to logits comes along."""
        self.foreground = foreground
        self.shares: HalfArray = np.zeros((classes, *foreground.shape), dtype=np.float16)  # probabilities (K, X, Y, Z)
        self.shares[0] = 1  # where no window will lie
        self.doubt: HalfArray | None = None  # mean entropy of the votes (X, Y, Z)
        if votes > 1:
            self.doubt = np.zeros(foreground.shape, dtype=np.float16)
        self._votes = votes
        self._seen = np.zeros((2, len(REGIONS)))  # voxels of each region in one vote on average, and in two

    def take(self, first: int, logits: FloatArray) -> None:
        """Keep a slab (K or K + DOUBTS, width, Y, Z) that begins at voxel `first` of X."""
        classes = len(self.shares)
        for place in range(0, logits.shape[1], _SLAB):
            part = logits[:, place : place + _SLAB]
            slab = slice(first + place, first + place + part.shape[1])
            self.shares[:, slab] = softmax(part[:classes])
            if self.doubt is not None:
                self.doubt[slab] = part[classes]
                seen = part[classes + 1 :][:, self.foreground[slab]].astype(np.float64)  # (regions, voxels)
                self._seen += seen.sum(axis=1), (seen * (self._votes * seen - 1)).sum(axis=1) / (self._votes - 1)

    def doubts(self, labels: LabelArray) -> Doubt:
        """How far labels (X, Y, Z), made of this answer, are to be trusted."""
        own, inside = labels[self.foreground], self.shares[:, self.foreground]  # (voxels,), (K, voxels)
        expected = {name: soft_dice(inside, own, region) for name, region in REGIONS.items()}
        agreement = {}
        if self.doubt is not None:
            # over pairs of votes, the voxels that both have, over those that one has: twice the one over both
            for name, one, two in zip(REGIONS, *self._seen, strict=True):
                agreement[name] = round(float(two / one), 4) if one else 1.0
        return Doubt(
            expected_dice={name: None if value is None else round(value, 4) for name, value in expected.items()},
            agreement=agreement,
        )


@dataclass(frozen=True, kw_only=True)
class Maps:
    """The maps of a case, on the grid of its files, each worked out when it is asked for.

    Probabilities are those of the networks: no postprocessing has changed them.
    """

    place: BoxPlace
    votes: VoteArrays

    def asked_for(self, quality: Quality) -> dict[str, list[Callable[[], FloatArray]]]:
        """What makes each map that was asked for, by its name: several volumes, or one."""
        maps = {"probabilities": self.probability_volumes()} if quality.probabilities else {}
        if quality.uncertainty:
            maps["entropy"] = [self.entropy]
            if self.votes.doubt is not None:
                maps["disagreement"] = [self.disagreement]
        return maps

    def entropy(self) -> FloatArray:
        """How undecided each voxel is, (X, Y, Z) from 0 to 1: Shannon's entropy of its probabilities over log K."""
        return self.place.map(self._entropy(), outside=0)

    def disagreement(self) -> FloatArray:
        """How far the votes disagree, (X, Y, Z) from 0 to 1: the mutual information of label and vote over log K.

        That is the entropy of the mean of votes less the mean of their entropies: 0 where all say the same, be they
        sure of it or not. Raises ConfigError for a single vote.
        """
        if self.votes.doubt is None:
            raise ConfigError(
                f"case {self.place.case.name}: one vote has nothing to disagree with: mirror, or add bundles"
            )
        return self.place.map((self._entropy() - self.votes.doubt).clip(0, 1), outside=0)

    def _entropy(self) -> FloatArray:
        shares = self.votes.shares
        slabs = [
            entropy(shares[:, first : first + _SLAB].astype(np.float32)) for first in range(0, shares.shape[1], _SLAB)
        ]
        return np.concatenate(slabs)

    def probabilities(self) -> FloatArray:
        """The probability of each label, (K, X, Y, Z) float32; outside of the brain background has all."""
        return np.stack([make() for make in self.probability_volumes()])

    def probability_volumes(self) -> list[Callable[[], FloatArray]]:
        """What makes each label's probability (X, Y, Z), in the order of the labels."""
        return [functools.partial(self._probability, label) for label in range(len(self.votes.shares))]

    def _probability(self, label: int) -> FloatArray:
        return self.place.map(self.votes.shares[label].astype(np.float32), outside=float(label == 0))
