"""Whether a faster way to run a network may be used on a GPU: tried beside float32, and what was seen kept."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssa_fast import hardware
from ssa_fast.backends.base import Backend, Device
from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import ConfigError, NumericsError
from ssa_fast.files import read_table, write_json
from ssa_fast.measure import paired_ratio
from ssa_fast.model.parity import Limits
from ssa_fast.volume.geometry import FloatArray

__all__ = ["LEAST_SPEED", "Trial", "Verdicts", "circumstances", "tried"]

LEAST_SPEED = 1.1
"""Times the speed of what it would take the place of that a way must reach to be worth its rounding or its memory."""

_LEAST_AGREEMENT = Limits().label_agreement  # as for every form of a network
_ROUNDS = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a way to run a network showed beside plain float32, on one batch."""

    is_finite: bool  # all logits
    label_agreement: float  # share of the brain's voxels with equal labels
    speed: float  # times that of float32
    opening_s: float = 0.0  # until its second run was done: it is opened, compiled, and its kernels are chosen

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """What speaks against it, each with what was seen and what was wanted; none: it may be used."""
        if not self.is_finite:
            return ("its logits are not finite",)
        found = []
        if not self.label_agreement >= _LEAST_AGREEMENT:
            found.append(f"equal labels on {self.label_agreement:.3%} of the brain, wanted {_LEAST_AGREEMENT:.1%}")
        if not self.speed >= LEAST_SPEED:
            found.append(f"{self.speed:.2f} times as fast as float32, wanted {LEAST_SPEED:g}")
        return tuple(found)


def tried(full: Backend, other: Backend, windows: FloatArray) -> Trial:
    """`other` held against `full`, the same network in plain float32, on one batch that holds brain.

    One pair of runs is timed, and three more only where the first has not shown `other` to be the slower: on a card
    that emulates float16 it may take twenty times as long.
    """
    is_brain = (windows != 0).any(axis=1)
    labels = full.labels(windows).copy()
    start = time.perf_counter()
    try:
        is_finite = bool(np.isfinite(other.logits(windows)).all())
        equal = other.labels(windows) == labels
    except NumericsError:
        is_finite = False
    opening_s = time.perf_counter() - start
    if not is_finite:
        return Trial(is_finite=False, label_agreement=0.0, speed=0.0, opening_s=opening_s)
    speed = paired_ratio(lambda: full.labels(windows), lambda: other.labels(windows), 1)
    if speed > 1:
        speed = paired_ratio(lambda: full.labels(windows), lambda: other.labels(windows), _ROUNDS)
    agreement = float(equal[is_brain].mean())
    return Trial(is_finite=True, label_agreement=agreement, speed=speed, opening_s=opening_s)


def circumstances(device: Device, bundle_sha256: str) -> str:
    """All that a trial depends on beside the way and the shape: GPU, driver, engine and its version, bundle."""
    return f"{device.name}, driver {hardware.find_gpus().driver or 'unknown'}, {device.engine}, {bundle_sha256}"


class Verdicts:
    """What trials have shown, refusals too: for this process, and in a file of the user's cache for the next ones.

    Another driver or version of the engine is another key, so it is asked anew; so is who removes the file.
    """

    def __init__(self, cache: Path | None, name: str) -> None:
        """`cache` is the folder of the file `name`; without one nothing outlives the process."""
        self.path = None if cache is None else cache / name
        self._seen: dict[str, Trial] = {}
        self._table: dict[str, Any] | None = None  # of the file, once it was read

    def known(self, key: str) -> Trial | None:
        """What was seen under `key`; None where nothing was, or the file's entry is damaged."""
        if key not in self._seen:
            kept = self._kept(key)
            if kept is None:
                return None
            self._seen[key] = kept
        return self._seen[key]

    def keep(self, key: str, trial: Trial) -> None:
        """Keep it. A file that cannot be written costs the next run a trial, so it is logged and no error."""
        self._seen[key], self._table = trial, None
        if self.path is None:
            return
        try:
            write_json(self.path, {**read_table(self.path), key: to_mapping(trial)})
        except OSError as error:
            _log.warning("%s: cannot be written (%s): the next run tries again", self.path, error.strerror)

    def _kept(self, key: str) -> Trial | None:
        if self.path is None:
            return None
        if self._table is None:
            self._table = read_table(self.path)
        entry = self._table.get(key)
        try:
            trial = from_mapping(Trial, entry) if isinstance(entry, dict) else None
        except ConfigError as error:
            _log.warning("%s: %s: tried anew", self.path, error)
            return None
        is_whole = trial is not None and math.isfinite(trial.speed) and math.isfinite(trial.opening_s)
        return trial if is_whole else None
