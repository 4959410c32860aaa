"""What inference will do for one case, known before it is done."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from ssa_fast.backends.base import Footprint, buffer_bytes
from ssa_fast.errors import BudgetError, ConfigError
from ssa_fast.model.spec import ModelSpec, gflop
from ssa_fast.volume.geometry import padded_shape
from ssa_fast.volume.windows import window_starts

__all__ = ["Plan", "Wish", "check_window", "plan_case"]

_BYTES_PER_VALUE = 4  # of the volume and its logits on the host, in float32
_MOST_WINDOWS = 6  # along an axis, before a budget is given up
_SMALLEST_EDGE = 64  # of a window, voxels: below it a network sees too little around a voxel
_SLABS = 3  # of blended logits at once: the sum, what is added to it, what is handed on

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of every plan."""

    budget_bytes: int | None = None  # of the process on a CPU, of the device's memory on a GPU; None: what is free
    window: Shape | None = None  # voxels X Y Z; None: the whole box, or the fewest windows that fit
    overlap: float = 0.5  # least share of a window that its neighbor repeats
    batch: int = 1  # windows a call of the engine

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap must be in [0, 1), got {self.overlap}")
        if self.batch < 1 or (self.budget_bytes is not None and self.budget_bytes < 1):
            raise ConfigError(f"batch and memory must be above 0, got {self.batch} and {self.budget_bytes}")
        if self.window is not None and min(self.window) < 1:
            raise ConfigError(f"window edges must be above 0, got {self.window}")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One pass over the padded brain box, or several windows: their size, their cost."""

    box: Shape  # of the brain, voxels
    shape: Shape  # the box, padded
    window: Shape  # of one pass: the whole shape, or a part of it
    overlap: float  # asked for between windows; 0 for one pass
    passes: int  # at most: windows without brain are passed by
    batch: int
    gflop: float  # of all passes, and of all votes in each
    peak_bytes: int  # of the process on a CPU, of the device's memory on a GPU
    lets_go: bool = False  # first of the buffers that the engine kept from other windows
    expected_seconds: float | None = None  # of the network; None: this machine has not run it yet
    resampled_from_mm: tuple[float, float, float] | None = None  # spacing of the files, X Y Z of RAS; None: 1 mm
    votes: int = 1  # answers, of several networks or mirrored brains, that each pass is the mean of

    def __str__(self) -> str:
        box, shape, window = (" x ".join(map(str, edges)) for edges in (self.box, self.shape, self.window))
        what = f"one pass of {shape}"
        if self.passes > 1:
            what = f"{self.passes} windows of {window} over {shape} (each normed by itself)"
        if self.votes > 1:
            what += f", {self.votes} votes each"
        seconds = "" if self.expected_seconds is None else f", about {self.expected_seconds:.2g} s"
        if self.resampled_from_mm is not None:
            box += f" (resampled from voxels of {' x '.join(f'{edge:.3g}' for edge in self.resampled_from_mm)} mm)"
        return f"brain {box}, {what}, {self.gflop:.0f} GFLOP, {self.peak_bytes / 1e9:.2f} GB of memory{seconds}"


def plan_case(box: Shape, spec: ModelSpec, wish: Wish, footprint: Footprint, pace: float | None = None) -> Plan:
    """The plan for a brain box of (X, Y, Z) voxels: pure, so it can be shown and tested without a network.

    One pass where it fits the budget, else the fewest windows that fit, of equally many those of the least arithmetic.
    `footprint` is what the engine holds and takes, `pace` the GFLOP a second that this machine was seen to do with it.

    Raises BudgetError, with what would be enough, if nothing fits; ConfigError for a window that the network cannot
    take.
    """
    if wish.window is not None:
        check_window(wish.window, spec, footprint)
        windows = [wish.window]
    else:
        windows = list(_windows(padded_shape(box, spec.divisor), spec.divisor, wish.overlap, footprint))
    plans = [_plan(box, window, spec, wish, footprint) for window in windows]
    granted = [plan for plan in plans if wish.budget_bytes is None or plan.peak_bytes <= wish.budget_bytes]
    if not granted:
        raise _too_small(min(plans, key=lambda plan: plan.peak_bytes), wish)
    best = min(granted, key=lambda plan: (plan.passes, plan.gflop))  # large windows: instance norm sees more of a brain
    best = _beside_kept(best, spec, wish, footprint)
    return dataclasses.replace(best, expected_seconds=best.gflop / pace if pace else None)


def _beside_kept(plan: Plan, spec: ModelSpec, wish: Wish, footprint: Footprint) -> Plan:
    """The plan, with the buffers that the engine keeps from other windows, or lets go of where they do not fit."""
    kept = footprint.kept_bytes
    if not footprint.is_kept_apart:  # these windows find their own among the larger ones'
        kept -= buffer_bytes(spec, _share(plan.passes, footprint), plan.batch, plan.window)
    if kept <= 0:
        return plan
    peak_bytes = plan.peak_bytes + kept
    if wish.budget_bytes is not None and peak_bytes > wish.budget_bytes:
        return dataclasses.replace(plan, lets_go=True)
    return dataclasses.replace(plan, peak_bytes=peak_bytes)


def _plan(box: Shape, window: Shape, spec: ModelSpec, wish: Wish, footprint: Footprint) -> Plan:
    padded = padded_shape(box, spec.divisor)
    x, y, z = (max(edge, part) for edge, part in zip(padded, window, strict=True))
    shape = (x, y, z)
    passes = math.prod(len(window_starts(edge, part, wish.overlap)) for edge, part in zip(shape, window, strict=True))
    batch = min(wish.batch, passes)
    around = 0
    if passes > 1 and footprint.is_host:  # the volume that windows are cut from, and what they are blended in
        around = spec.network.modalities * math.prod(shape)
        around += _SLABS * (spec.network.classes + 1) * window[0] * shape[1] * shape[2]
    return Plan(
        box=box,
        shape=shape,
        window=window,
        overlap=wish.overlap if passes > 1 else 0.0,
        passes=passes,
        batch=batch,
        gflop=passes * footprint.work * gflop(spec.network, window),
        peak_bytes=footprint.held_bytes
        + buffer_bytes(spec, _share(passes, footprint), batch, window)
        + _BYTES_PER_VALUE * around,
        votes=footprint.votes,
    )


def _share(passes: int, footprint: Footprint) -> float:
    """What the engine has of the network's values: in one pass labels are asked for, of windows logits."""
    return footprint.share_for("labels" if passes == 1 else "logits")


def _windows(shape: Shape, divisor: int, overlap: float, footprint: Footprint) -> Iterator[Shape]:
    """The whole shape, and every window that cuts its axes into up to six overlapping parts each.

    Where the engine takes certain shapes alone, all lie between its smallest and its largest.
    """
    least, most = _edges(footprint)
    axes = []
    for edge, smallest, largest in zip(shape, least, most, strict=True):
        parts = [divisor * math.ceil(edge / (1 + gaps * (1 - overlap)) / divisor) for gaps in range(_MOST_WINDOWS)]
        wide = {max(part, min(_SMALLEST_EDGE, edge)) for part in parts}
        axes.append(sorted({int(min(max(part, smallest), largest)) for part in wide}, reverse=True))
    yield from ((x, y, z) for x, y, z in itertools.product(*axes))


def _edges(footprint: Footprint) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The smallest and largest edges that an engine takes, X Y Z."""
    if not footprint.shapes:
        return (1, 1, 1), (math.inf, math.inf, math.inf)
    return footprint.shapes[0], footprint.shapes[-1]


def check_window(window: Shape, spec: ModelSpec, footprint: Footprint) -> None:
    """Raises ConfigError for a window (X, Y, Z) that the network, or its engine, cannot take."""
    words = " x ".join(map(str, window))
    if any(edge % spec.divisor for edge in window):
        raise ConfigError(f"a window of {words} voxels: network '{spec.name}' takes multiples of {spec.divisor}")
    least, most = _edges(footprint)
    if any(not low <= edge <= high for low, edge, high in zip(least, window, most, strict=True)):
        taken = " to ".join(" x ".join(map(str, shape)) for shape in footprint.shapes)
        raise ConfigError(f"a window of {words} voxels: the engine was built for {taken}")


def _too_small(least: Plan, wish: Wish) -> BudgetError:
    assert wish.budget_bytes is not None
    window = " x ".join(map(str, least.window))
    what = "one pass" if least.passes == 1 else f"windows of {window}"
    return BudgetError(
        f"a brain of {' x '.join(map(str, least.box))} voxels needs {math.ceil(least.peak_bytes / 1e6)} MB in {what}, "
        f"{wish.budget_bytes // 10**6} MB are granted: grant that much, close other programs where the machine has no "
        "more, or take another network"
    )
