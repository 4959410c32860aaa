"""float16 on a GPU, used only where that GPU has shown that it is right and pays: tried on the first brain of a shape.

On cards that only claim tensor cores (GTX 16xx) libraries run float16 in emulation, 5 to 20 times slower than float32,
and sometimes NaN. No table of cards is sure, so the GPU itself is asked, and what it has passed is kept.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ssa_fast import hardware
from ssa_fast.backends.base import Backend, Device, Footprint
from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import ArithmeticUnavailable, ConfigError, NumericsError
from ssa_fast.files import read_table, write_json
from ssa_fast.measure import paired_ratio
from ssa_fast.model.parity import Limits
from ssa_fast.model.spec import ModelSpec
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["LEAST_SPEED", "GuardedBackend", "Trial", "circumstances", "tried"]

LEAST_SPEED = 1.1
"""Times the speed of float32 that float16 must reach to be worth its rounding."""

_LEAST_AGREEMENT = Limits().label_agreement  # as for every form of a network
_ROUNDS = 3
_FILE = "float16.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What float16 showed beside float32, on one batch."""

    is_finite: bool  # all logits
    label_agreement: float  # share of the brain's voxels with equal labels
    speed: float  # times that of float32

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """What speaks against float16, each with what was seen and what was wanted; none: it may be used."""
        if not self.is_finite:
            return ("its logits are not finite",)
        found = []
        if not self.label_agreement >= _LEAST_AGREEMENT:
            found.append(f"equal labels on {self.label_agreement:.3%} of the brain, wanted {_LEAST_AGREEMENT:.1%}")
        if not self.speed >= LEAST_SPEED:
            found.append(f"{self.speed:.2f} times as fast as float32, wanted {LEAST_SPEED:g}")
        return tuple(found)


def tried(full: Backend, half: Backend, windows: FloatArray) -> Trial:
    """`half` held against `full`, the same network in float32, on one batch that holds brain; runs each five times."""
    is_brain = (windows != 0).any(axis=1)
    labels = full.labels(windows).copy()
    try:
        is_finite = bool(np.isfinite(half.logits(windows)).all())
        equal = half.labels(windows) == labels
    except NumericsError:
        is_finite = False
    if not is_finite:
        return Trial(is_finite=False, label_agreement=0.0, speed=0.0)
    speed = paired_ratio(lambda: full.labels(windows), lambda: half.labels(windows), _ROUNDS)
    return Trial(is_finite=True, label_agreement=float(equal[is_brain].mean()), speed=speed)


def circumstances(device: Device, bundle_sha256: str) -> str:
    """All that a trial depends on beside the shape: GPU, driver, engine and its version, bundle."""
    return f"{device.name}, driver {hardware.find_gpus().driver or 'unknown'}, {device.engine}, {bundle_sha256}"


class GuardedBackend:
    """A network in float16 that is tried beside float32 before each batch of a new shape, and refused if it fails."""

    def __init__(self, full: Backend, half: Backend, where: str, cache: Path | None = None) -> None:
        """`full` and `half` are one network in float32 and float16, `where` is of `circumstances`.

        `cache` is a folder that keeps for the next run what was passed. Both networks are closed with this one.
        """
        self._full, self._half = full, half
        self._where, self._cache = where, cache
        self._trials: dict[str, Trial] = {}

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
        return replace(full, held_bytes=max(full.held_bytes, half.held_bytes))

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
        shape = " x ".join(map(str, windows.shape))
        key = f"{self._where}, {shape}"
        trial = self._trials.get(key) or self._kept(key)
        if trial is None:
            if not windows.any():
                return  # nothing to see on it, and nothing to get wrong
            trial = tried(self._full, self._half, windows)
            if not trial.shortcomings:  # a refusal is not kept: who asks again may have closed what slowed the GPU
                self._keep(key, trial)
        if key not in self._trials:
            _log.info("float16 on %s, %s: %s", self.device.name, shape, trial)
        self._trials[key] = trial
        if trial.shortcomings:
            raise ArithmeticUnavailable(
                f"float16 on {self.device.name} ({self.device.engine}, {shape} values): "
                f"{'; '.join(trial.shortcomings)}: take --precision float32"
            )

    def _kept(self, key: str) -> Trial | None:
        """What an earlier run saw, if it was kept and is whole."""
        if self._cache is None:
            return None
        entry = read_table(self._cache / _FILE).get(key)
        try:
            trial = from_mapping(Trial, entry) if isinstance(entry, dict) else None
        except ConfigError as error:
            _log.warning("%s: %s: tried anew", self._cache / _FILE, error)
            return None
        return trial if trial is not None and math.isfinite(trial.speed) else None

    def _keep(self, key: str, trial: Trial) -> None:
        """A cache that cannot be written costs the next run a trial, so it is logged and no error."""
        if self._cache is None:
            return
        path = self._cache / _FILE
        try:
            write_json(path, {**read_table(path), key: to_mapping(trial)})
        except OSError as error:
            _log.warning("%s: cannot be written (%s): the next run tries float16 again", path, error.strerror)
