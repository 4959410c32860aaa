"""Connected components of a mask, by its runs: numpy alone, and work by surface instead of volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ssa_fast.volume.geometry import BoolArray

__all__ = ["Components", "Neighbors", "components"]

Neighbors: TypeAlias = Literal[6, 26]
"""Voxels that touch one: those that share a face with it, or also those of an edge or a corner."""

IntArray: TypeAlias = npt.NDArray[np.int64]
_FACES = ((1, 0), (0, 1))  # steps in X and Y from a line of voxels along Z to its neighbors, each pair once
_CORNERS = (*_FACES, (1, 1), (1, -1))


@dataclass(frozen=True, kw_only=True)
class Components:
    """The components of a mask, numbered from 0: which run of voxels along Z belongs to which."""

    shape: tuple[int, int, int]  # of the mask, X Y Z
    runs: IntArray  # (runs, 4): x, y, first z, last z + 1
    owners: IntArray  # (runs,): the number of its component
    voxels: IntArray  # of each component

    def mask(self, chosen: BoolArray) -> BoolArray:
        """Where the components lie of which `chosen` (components,) is True; (X, Y, Z)."""
        x, y, first, stop = self.runs[chosen[self.owners]].T
        steps = np.zeros((*self.shape[:2], self.shape[2] + 1), dtype=np.int8)
        steps[x, y, first] = 1
        steps[x, y, stop] = -1
        inside: BoolArray = np.cumsum(steps, axis=2, dtype=np.int8)[:, :, :-1] > 0
        return inside

    @property
    def touch_border(self) -> BoolArray:
        """Which components (components,) reach the border of the mask."""
        x, y, first, stop = self.runs.T
        edges_x, edges_y, edges_z = self.shape
        outer = (x == 0) | (x == edges_x - 1) | (y == 0) | (y == edges_y - 1) | (first == 0) | (stop == edges_z)
        touching = np.zeros(len(self.voxels), dtype=np.bool_)
        touching[self.owners[outer]] = True
        return touching


def components(mask: BoolArray, neighbors: Neighbors = 26) -> Components:
    """The connected components of a mask (X, Y, Z), in the order of their first voxels.

    Source: run-based labeling (He, Chao, Suzuki, IEEE Transactions on Image Processing 2008), the equivalences solved
    by hooking and pointer jumping (Shiloach, Vishkin, Journal of Algorithms 1982), which numpy does at once for all.
    """
    x_edge, y_edge, z_edge = mask.shape
    steps = np.diff(mask.astype(np.int8), axis=2, prepend=np.int8(0), append=np.int8(0))  # (X, Y, Z + 1)
    runs = np.column_stack([*np.nonzero(steps == 1), np.nonzero(steps == -1)[2]]).astype(np.int64)
    parent = np.arange(len(runs))
    pairs = [pair for pair in _touching(runs, (x_edge, y_edge, z_edge), neighbors) if len(pair[0])]
    if pairs:
        one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
        while True:
            least = np.minimum(parent[one], parent[other])
            np.minimum.at(parent, parent[one], least)
            np.minimum.at(parent, parent[other], least)
            while (parent[parent] != parent).any():
                parent = parent[parent]
            if (parent[one] == parent[other]).all():
                break
    _, owners = np.unique(parent, return_inverse=True)
    voxels = np.bincount(owners, weights=runs[:, 3] - runs[:, 2]).astype(np.int64)
    return Components(shape=(x_edge, y_edge, z_edge), runs=runs, owners=owners.astype(np.int64), voxels=voxels)


def _touching(runs: IntArray, shape: tuple[int, int, int], neighbors: Neighbors) -> Iterator[tuple[IntArray, IntArray]]:
    """Pairs of runs that touch, by their places in `runs`, for each step to a neighboring line."""
    x, y, first, stop = runs.T
    slack = 1 if neighbors == 26 else 0  # runs of neighboring lines may then lie corner to corner
    line = shape[2] + 2  # room between lines, so that no run reaches into the next by its slack
    lines = (x * shape[1] + y) * line
    starts, stops = lines + first, lines + stop
    for x_step, y_step in _CORNERS if neighbors == 26 else _FACES:
        sources = np.flatnonzero((x + x_step < shape[0]) & (y + y_step >= 0) & (y + y_step < shape[1]))
        shift = (x_step * shape[1] + y_step) * line
        low = np.searchsorted(stops, starts[sources] + shift - slack, side="right")
        high = np.searchsorted(starts, stops[sources] + shift + slack, side="left")
        counts = np.maximum(high - low, 0)
        ends = np.cumsum(counts)
        within = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
        yield np.repeat(sources, counts), np.repeat(low, counts) + within
