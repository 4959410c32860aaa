"""The fastest right way to run a network on a GPU, found by trials on the very windows that it is asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from ssa_fast.backends.base import Backend, Footprint, in_words
from ssa_fast.backends.trial import LEAST_SPEED, Trial, Verdicts, circumstances, tried
from ssa_fast.errors import BackendError, BackendUnavailable, BundleError
from ssa_fast.model.spec import ModelSpec
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["MeasuredBackend", "Way"]

T = TypeVar("T")
_FILE = "ways.json"
_UNUSABLE = (BackendError, BackendUnavailable, BundleError)  # it cannot be opened, or does not run
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to run a network on a device."""

    name: str  # such as "bf16, channels-last, CUDA graph": what its verdicts are kept under
    open: Callable[[], Backend]
    base: str = ""  # the way of the same arithmetic whose place it may take; "": it has one of its own
    wait_s: float = 0.0  # that a shape must have run before it is tried: about what opening it takes


@dataclass
class _Shape:
    """What is known of one shape of windows."""

    way: str  # that runs it
    kind: str  # that way, or its base
    speed: float = 1.0  # times that of the plain way
    kind_speed: float = 1.0
    spent_s: float = 0.0
    judged: set[str] = field(default_factory=set)


class MeasuredBackend:
    """A network that each shape of windows runs by the fastest way that was seen to be right there.

    A way is taken where its logits are finite, its labels equal to the plain way's on 99.9 % of the brain, and it is
    1.1 times as fast as what it takes the place of. What is dear to try waits until the shape has run for a time, so
    shapes that come once pay for none of it. A trial runs the network some fifteen times.
    """

    def __init__(self, ways: Sequence[Way], bundle_sha256: str, cache: Path | None = None) -> None:
        """The first way is the plain one, in float32: the others are held against it, in their order.

        `cache` is a folder that keeps what was seen for the next run. Ways that wait for nothing are opened now, so
        that the memory that they hold is known.
        """
        self._ways = {way.name: way for way in ways}
        self._opened: dict[str, Backend] = {}
        self._plain_name = ways[0].name
        self._plain = self._open(self._plain_name)
        device = self._plain.device
        self._where, self._verdicts = circumstances(device, bundle_sha256), Verdicts(cache, _FILE)
        self._shapes: dict[tuple[int, ...], _Shape] = {}
        for way in ways[1:]:
            if way.wait_s == 0:
                self._open_if_usable(way.name)
        self.device = replace(device, engine=f"{device.engine} (faster ways by trial)")  # then: of the last run

    @property
    def spec(self) -> ModelSpec:
        """See `Backend.spec`."""
        return self._plain.spec

    @property
    def footprint(self) -> Footprint:
        """See `Backend.footprint`: of the plain way, the largest, for a trial runs it; all that are open are held."""
        every = [one.footprint for one in self._opened.values()]
        return replace(
            self._plain.footprint,
            held_bytes=sum(one.held_bytes for one in every),
            keeps_buffers=any(one.keeps_buffers for one in every),
            kept_bytes=sum(one.kept_bytes for one in every),
            is_kept_apart=any(one.is_kept_apart for one in every),
        )

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`."""
        return self._ran(windows, lambda backend: backend.logits(windows))

    def labels(self, windows: FloatArray) -> LabelArray:
        """See `Backend.labels`."""
        return self._ran(windows, lambda backend: backend.labels(windows))

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        known = [free for free in (one.free_bytes() for one in self._opened.values()) if free is not None]
        return max(known, default=None)  # each counts what itself would let go of

    def let_go(self) -> None:
        """See `Backend.let_go`."""
        for backend in self._opened.values():
            backend.let_go()

    def close(self) -> None:
        """See `Backend.close`."""
        while self._opened:
            self._opened.popitem()[1].close()
        self._ways.clear()  # they know the weights

    def _ran(self, windows: FloatArray, asked_of: Callable[[Backend], T]) -> T:
        shape = self._shapes.setdefault(windows.shape, _Shape(way=self._plain_name, kind=self._plain_name))
        self._choose(shape, windows)
        start = time.perf_counter()
        try:
            answer = asked_of(self._open(shape.way))
        except _UNUSABLE as error:
            if shape.way == shape.kind:
                raise
            _log.warning("%s: %s: from now on it runs by %s", shape.way, error, shape.kind)  # the same arithmetic
            self._drop(shape.way)
            shape.way, shape.speed = shape.kind, shape.kind_speed
            answer = asked_of(self._open(shape.way))
        shape.spent_s += time.perf_counter() - start
        self.device = self._open(shape.way).device
        return answer

    def _choose(self, shape: _Shape, windows: FloatArray) -> None:
        """Try what is due, and take what is best so far."""
        for way in list(self._ways.values())[1:]:
            if way.name in shape.judged or way.base not in ("", shape.kind):
                continue
            key = f"{self._where}, {way.name}, {in_words(windows.shape)}"
            trial = self._verdicts.known(key)
            wait_s = way.wait_s if trial is None else min(way.wait_s, trial.opening_s)
            if shape.spent_s < wait_s or (trial is None and not windows.any()):  # nothing to see where no brain is
                continue
            shape.judged.add(way.name)
            trial = trial or self._tried(way, windows, key)
            if trial is None:
                continue
            is_better = not trial.shortcomings and trial.speed >= LEAST_SPEED * shape.speed
            left = shape.way if is_better else way.name
            if not any(other.way == left for other in self._shapes.values() if other is not shape):
                self._let_go_of(left)
            if is_better:
                shape.way, shape.speed = way.name, trial.speed
                if not way.base:
                    shape.kind, shape.kind_speed = way.name, trial.speed
                words = in_words(windows.shape), way.name, trial.speed, self._plain_name
                _log.info("windows of %s run by %s: %.2f times as fast as by %s", *words)

    def _tried(self, way: Way, windows: FloatArray, key: str) -> Trial | None:
        """What the way showed, kept; None where it cannot be run, which the next process tries again."""
        try:
            start = time.perf_counter()
            opened = self._open(way.name)
            opening_s = time.perf_counter() - start
            trial = tried(self._plain, opened, windows)
            trial = replace(trial, opening_s=trial.opening_s + opening_s)
        except _UNUSABLE as error:
            _log.info("%s cannot be tried: %s", way.name, error)
            self._drop(way.name)
            return None
        self._verdicts.keep(key, trial)
        _log.info("%s on %s, %s: %s", way.name, self._plain.device.name, in_words(windows.shape), trial)
        return trial

    def _open(self, name: str) -> Backend:
        if name not in self._opened:
            self._opened[name] = self._ways[name].open()
        return self._opened[name]

    def _open_if_usable(self, name: str) -> None:
        """For want of memory, say, it is left out, and with it what would take its place; the plain way works on."""
        try:
            self._open(name)
        except _UNUSABLE as error:
            _log.warning("%s cannot be opened: %s", name, error)
            del self._ways[name]

    def _let_go_of(self, name: str) -> None:
        if name in self._opened:
            self._opened[name].let_go()

    def _drop(self, name: str) -> None:
        if name in self._opened:
            self._opened.pop(name).close()
