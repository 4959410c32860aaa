"""float16 on a GPU, used only where that GPU has shown that it is right and pays: tried on the first brain of a shape.

On cards that only claim tensor cores (GTX 16xx) libraries run float16 in emulation, 5 to 20 times slower than float32,
and sometimes NaN. No table of cards is sure, so the GPU itself is asked, and its answer is kept.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from ssa_fast.backends.base import Backend, Device, Footprint, in_words
from ssa_fast.backends.trial import Verdicts, tried
from ssa_fast.errors import ArithmeticUnavailable
from ssa_fast.model.spec import ModelSpec
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["GuardedBackend"]

_FILE = "float16.json"
_log = logging.getLogger(__name__)


class GuardedBackend:
    """A network in float16 that is tried beside float32 before each batch of a new shape, and refused if it fails."""

    def __init__(self, full: Backend, half: Backend, where: str, cache: Path | None = None) -> None:
        """`full` and `half` are one network in float32 and float16, `where` is of `circumstances`.

        `cache` is a folder that keeps what was seen for the next run. Both networks are closed with this one.
        """
        self._full, self._half = full, half
        self._where, self._verdicts = where, Verdicts(cache, _FILE)

    @property
    def spec(self) -> ModelSpec:
        """See `Backend.spec`."""
        return self._half.spec

    @property
    def device(self) -> Device:
        """See `Backend.device`."""
        return self._half.device

    @property
    def footprint(self) -> Footprint:
        """See `Backend.footprint`: of float32, the larger, for a trial runs it, and both networks are held."""
        full, half = self._full.footprint, self._half.footprint
        return replace(full, held_bytes=full.held_bytes + half.held_bytes)

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`. Raises ArithmeticUnavailable where float16 is not right or does not pay."""
        self._check(windows)
        return self._half.logits(windows)

    def labels(self, windows: FloatArray) -> LabelArray:
        """See `Backend.labels`. Raises ArithmeticUnavailable where float16 is not right or does not pay."""
        self._check(windows)
        return self._half.labels(windows)

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        return self._half.free_bytes()

    def let_go(self) -> None:
        """See `Backend.let_go`."""
        self._full.let_go()
        self._half.let_go()

    def close(self) -> None:
        """See `Backend.close`."""
        self._half.close()
        self._full.close()

    def _check(self, windows: FloatArray) -> None:
        shape = in_words(windows.shape)
        key = f"{self._where}, {shape}"
        trial = self._verdicts.known(key)
        if trial is None:
            if not windows.any():
                return  # nothing to see on it, and nothing to get wrong
            trial = tried(self._full, self._half, windows)
            self._verdicts.keep(key, trial)
            _log.info("float16 on %s, %s: %s", self.device.name, shape, trial)
        if trial.shortcomings:
            again = f", or remove {self._verdicts.path} to have it tried again" if self._verdicts.path else ""
            raise ArithmeticUnavailable(
                f"float16 on {self.device.name} ({self.device.engine}, {shape} values): "
                f"{'; '.join(trial.shortcomings)}: take --precision float32{again}"
            )
