"""What a run tells while it goes on, and at its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssa_fast.train.meter import Pace
from ssa_fast.train.overlay import RgbArray
from ssa_fast.train.records import Epoch

__all__ = ["NOTICES", "Outcome", "Progress"]

NOTICES = logging.getLogger(__name__)
"""Says what a run does where no report is due: as INFO what passes, as WARNING what is to stay."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands; one of these every `report_every` steps, and one at the end of each epoch."""

    step: int
    steps: int
    loss: float  # mean since the last report
    learning_rate: float
    pace: Pace  # since the last report
    peak_memory_bytes: int  # so far: the GPU's allocations, or the process where there is none
    seconds_left: float  # scores not counted
    epoch: Epoch | None = None  # where one has ended
    overlay: RgbArray | None = None  # then, where cases are held out: a slice of the first


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call of `train` ended."""

    checkpoint: Path
    began_at: int  # steps that were made before the call
    step: int  # that the checkpoint holds; below `steps` if training was stopped
    steps: int  # that were asked for
    epochs: Sequence[Mapping[str, Any]]  # lines of training_stats.json
