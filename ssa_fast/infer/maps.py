"""Maps beside a case's labels: how probable each is, how undecided the answer, where its votes disagree."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ssa_fast.infer.quality import Quality
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import Box, FloatArray, LabelArray
from ssa_fast.volume.postprocess import restore_labels, restore_map
from ssa_fast.volume.preprocess import Brain
from ssa_fast.volume.probabilities import softmax
from ssa_fast.volume.resample import Resampled, labels_on_files, map_on_files

__all__ = ["Maps", "Place", "VoteArrays"]

HalfArray: TypeAlias = npt.NDArray[np.float16]
_SLAB = 16  # voxels along X that are worked out at once


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the network's padded box lies in a case's files."""

    inner: Box  # of the brain in the padded box
    brain: Brain  # its box and foreground; its images may be gone
    case: Case
    resampled: Resampled | None

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

    def __init__(self, shape: tuple[int, int, int], classes: int, *, has_doubt: bool) -> None:
        """`has_doubt`: the mean entropy of several votes comes along as one channel more."""
        self.shares: HalfArray = np.zeros((classes, *shape), dtype=np.float16)  # probabilities (K, X, Y, Z)
        self.shares[0] = 1  # where no window will lie
        self.doubt: HalfArray | None = np.zeros(shape, dtype=np.float16) if has_doubt else None  # (X, Y, Z)

    def take(self, first: int, logits: FloatArray) -> None:
        """Keep a slab (K or K + 1, width, Y, Z) that begins at voxel `first` of X."""
        classes = len(self.shares)
        for place in range(0, logits.shape[1], _SLAB):
            part = logits[:, place : place + _SLAB]
            slab = slice(first + place, first + place + part.shape[1])
            self.shares[:, slab] = softmax(part[:classes])
            if self.doubt is not None:
                self.doubt[slab] = part[classes]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """The maps of a case, on the grid of its files, each worked out when it is asked for.

    Probabilities are those of the networks: no postprocessing has changed them.
    """

    place: Place
    votes: VoteArrays

    def asked_for(self, quality: Quality) -> dict[str, list[Callable[[], FloatArray]]]:
        """What makes each map that was asked for, by its name: several volumes, or one."""
        return {"probabilities": self.probability_volumes()} if quality.probabilities else {}

    def probabilities(self) -> FloatArray:
        """The probability of each label, (K, X, Y, Z) float32; outside of the brain background has all."""
        return np.stack([make() for make in self.probability_volumes()])

    def probability_volumes(self) -> list[Callable[[], FloatArray]]:
        """What makes each label's probability (X, Y, Z), in the order of the labels."""
        return [functools.partial(self._probability, label) for label in range(len(self.votes.shares))]

    def _probability(self, label: int) -> FloatArray:
        return self.place.map(self.votes.shares[label].astype(np.float32), outside=float(label == 0))
