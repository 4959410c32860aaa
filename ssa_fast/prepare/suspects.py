"""What is likely wrong with a data set although every file is sound: swapped modalities, one patient twice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ssa_fast.labels import ED, ET, MODALITIES
from ssa_fast.volume.geometry import FloatArray, LabelArray
from ssa_fast.volume.modality_order import contrasts_of
from ssa_fast.volume.preprocess import Brain

__all__ = ["ALIKE", "Likeness", "Repeat", "Swap", "likeness", "suspected_repeats", "suspected_swap"]

_STEP = 2  # every second voxel along each axis: contrasts are of tissues, not of voxels
_LEAST_VOXELS = 50  # of a label, after that: fewer tell nothing about its contrast

_GRID = (36, 44, 36)  # cells over the brain's box, of about 4 mm
_RADIUS = 2  # cells: what is smoother than five of them is anatomy that all heads share
_LEAST_BRAIN = 0.5  # of a cell
_TINY = 1e-12  # a brain without structure is like none
ALIKE = 0.55
"""Correlation of two brains from which they are suspected to be one patient's: see `suspected_repeats`."""

_VISIT = re.compile(r"(?P<patient>.+-\d{5})-(?P<visit>\d{3})")  # BraTS 2023: BraTS-SSA-00002-000


@dataclass(frozen=True, kw_only=True)
class Swap:
    """The rules of contrast that a case breaks, and the swaps of two modalities that would mend all of them."""

    broken: tuple[str, ...]
    mends: tuple[tuple[str, str], ...]  # empty: more than two are mixed up, or the case is unusual


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """The fine structure of a brain, to be compared with others': unit vectors, a row a modality."""

    rows: FloatArray  # (C, cells)


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Two cases that may be of one patient, and must then be in one fold."""

    cases: tuple[str, str]
    correlation: float  # of their fine structure
    same_name: bool  # one patient's number, two visits


def suspected_swap(brain: Brain, labels: LabelArray | None) -> Swap | None:
    """Whether modalities of a case are likely mixed up, by rules of contrast; None if it breaks none.

    `labels` is (X, Y, Z) in the brain's box. Three rules need none: those of `volume.modality_order`, for brains large
    enough. Two more, on z-scored voxels, need labels: oedema is brighter on t2f than on both T1s; the enhancing tumor
    gains from t1n to t1c.

    Of fifteen BraTS-SSA cases none breaks a rule, and of their 90 swaps of two modalities all do, with labels or
    without. The rules were drawn up on these same cases, so expect less elsewhere.
    """
    contrasts = contrasts_of(brain.array, brain.foreground)
    gains = _gains(brain, labels)

    def broken(order: Sequence[int]) -> tuple[str, ...]:
        return (contrasts.broken(order) if contrasts else ()) + gains.broken(order)

    seen = broken(range(len(MODALITIES)))
    if not seen:
        return None
    mends = []
    for one, other in combinations(range(len(MODALITIES)), 2):
        order = list(range(len(MODALITIES)))
        order[one], order[other] = other, one
        if not broken(order):
            mends.append((MODALITIES[one], MODALITIES[other]))
    return Swap(broken=seen, mends=tuple(mends))


def likeness(brain: Brain) -> Likeness:
    """What `suspected_repeats` compares of a brain: means over cells of its box, without their slow part."""
    cover = _cells(brain.foreground.astype(np.float32))
    inside = (cover > _LEAST_BRAIN).astype(np.float32)
    weights = np.maximum(_smooth(inside), np.float32(1e-3))
    rows = np.zeros((len(brain.array), inside.size), dtype=np.float32)
    for row, channel in zip(rows, brain.array, strict=True):
        means: FloatArray = _cells(channel) / np.maximum(cover, np.float32(_LEAST_BRAIN)) * inside
        fine: FloatArray = np.ravel((means - _smooth(means) / weights) * inside)
        row[...] = fine / max(float(np.linalg.norm(fine)), _TINY)
    return Likeness(rows=rows)


def suspected_repeats(brains: Mapping[str, Likeness]) -> list[Repeat]:
    """Pairs of cases that look like one patient, or say so by their names; the most alike first.

    Compared is the fine structure of gyri and ventricles, in the mean over the modalities; orientation, cropping and
    registration may differ by a few degrees and mm. Among the 105 pairs of fifteen BraTS-SSA cases, all of different
    patients, the most alike correlate by 0.37. The same fifteen turned by up to 2 degrees and moved by up to 2 mm, with
    new noise, shading and gamma, twice each, correlate with themselves by 0.65 or more. So at 0.55 30 of 30 are found,
    and of the 105 none. No real second visit was at hand: surgery or growth in between will lower the first number.
    """
    names = sorted(brains)
    rows = [brains[name].rows.ravel() / np.sqrt(len(brains[name].rows)) for name in names]
    repeats = []
    for (one, first), (other, second) in combinations(zip(names, rows, strict=True), 2):
        correlation = float(first @ second)
        same_name = _patient(one) is not None and _patient(one) == _patient(other)
        if correlation >= ALIKE or same_name:
            repeats.append(Repeat(cases=(one, other), correlation=correlation, same_name=same_name))
    return sorted(repeats, key=lambda repeat: -repeat.correlation)


@dataclass(frozen=True)
class _Gains:
    """By how much labels stand out in each image, (C,): mean of the label minus that of the brain without labels."""

    edema: FloatArray | None
    enhancing: FloatArray | None

    def broken(self, order: Sequence[int]) -> tuple[str, ...]:
        """The rules that are broken if modality i is in truth the image `order[i]`."""
        t1n, t1c, _, t2f = order
        broken = []
        if self.edema is not None and self.edema[t2f] <= max(self.edema[t1n], self.edema[t1c]):
            broken.append("oedema is not brighter on t2f than on t1n and t1c")
        if self.enhancing is not None and self.enhancing[t1c] <= self.enhancing[t1n]:
            broken.append("the enhancing tumour is not brighter on t1c than on t1n")
        return tuple(broken)


def _gains(brain: Brain, labels: LabelArray | None) -> _Gains:
    if labels is None:
        return _Gains(None, None)
    array = brain.array[:, ::_STEP, ::_STEP, ::_STEP]
    inside = (array != 0).all(axis=0)
    values = array[:, inside].astype(np.float64)  # (C, voxels)
    kinds: LabelArray = labels[::_STEP, ::_STEP, ::_STEP][inside]
    return _Gains(_gain(values, kinds, ED), _gain(values, kinds, ET))


def _gain(values: npt.NDArray[np.float64], kinds: LabelArray, label: int) -> FloatArray | None:
    inside, rest = kinds == label, kinds == 0
    if np.count_nonzero(inside) < _LEAST_VOXELS or not rest.any():
        return None
    gain: FloatArray = (values[:, inside].mean(axis=1) - values[:, rest].mean(axis=1)).astype(np.float32)
    return gain


def _cells(array: FloatArray) -> FloatArray:
    """(X, Y, Z) as means over `_GRID` cells of equal size, their borders anywhere between voxels."""
    for axis, count in enumerate(_GRID):
        edge = array.shape[axis]
        borders = np.linspace(0, edge, count + 1)
        left = np.minimum(borders.astype(int), edge - 1)
        shape = [1, 1, 1]
        shape[axis] = count + 1
        share = (borders - left).reshape(shape)
        sums = np.insert(np.cumsum(array, axis=axis, dtype=np.float64), 0, 0, axis=axis)
        at_borders = np.take(sums, left, axis) * (1 - share) + np.take(sums, left + 1, axis) * share
        array = (np.diff(at_borders, axis=axis) * (count / edge)).astype(np.float32)
    return array


def _smooth(cells: FloatArray) -> FloatArray:
    """The mean over a cube of 2 `_RADIUS` + 1 cells around each; the border is repeated."""
    width = 2 * _RADIUS + 1
    for axis in range(3):
        padding = [(_RADIUS, _RADIUS) if other == axis else (0, 0) for other in range(3)]
        sums = np.insert(np.cumsum(np.pad(cells, padding, mode="edge"), axis=axis, dtype=np.float64), 0, 0, axis=axis)
        count = cells.shape[axis]
        upper, lower = (np.take(sums, np.arange(count) + start, axis) for start in (width, 0))
        cells = ((upper - lower) / width).astype(np.float32)
    return cells


def _patient(name: str) -> str | None:
    match = _VISIT.fullmatch(name)
    return match["patient"] if match else None
