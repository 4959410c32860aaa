"""Every fold of a file of splits trained and scored, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssa_fast.config import to_mapping
from ssa_fast.errors import ConfigError
from ssa_fast.files import write_json
from ssa_fast.labels import REGIONS
from ssa_fast.metrics.overlap import TARGETS

__all__ = ["CROSS_VALIDATION", "CrossValidation", "cross_validation", "fold_folder", "write_cross_validation"]

CROSS_VALIDATION = "cross_validation.json"


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Dice of held-out cases at the end of each fold's run: never of the best epoch, which they would have chosen."""

    folds: Mapping[str, Mapping[str, float]]  # fold -> target -> mean over its cases
    cases: Mapping[str, Mapping[str, float]]  # case -> target -> Dice; empty where patches were scored
    mean: Mapping[str, float]  # over the folds
    median: Mapping[str, float]  # over the cases; where patches were scored, which have none, over the folds
    steps: int  # updates of each run

    def lines(self) -> list[str]:
        """A table: a line a fold, their mean, the median over cases."""
        names = (*REGIONS, *(name for name in TARGETS if name not in REGIONS))
        rows = [(f"fold {fold}", dice) for fold, dice in self.folds.items()]
        rows += [("mean of folds", self.mean), ("median of cases" if self.cases else "median of folds", self.median)]
        head = f"{'':<18}" + "".join(f"{name:>8}" for name in names)
        return [head, *(f"{title:<18}" + "".join(f"{dice[name]:8.3f}" for name in names) for title, dice in rows)]


def fold_folder(out: Path, fold: int) -> Path:
    """Where the run of a fold is kept: OUT/fold0, OUT/fold1, ..."""
    return out / f"fold{fold}"


def cross_validation(epochs: Mapping[int, Sequence[Mapping[str, Any]]]) -> CrossValidation:
    """What the lines of training_stats.json of each fold's run say together; the last line of each counts.

    Raises ConfigError for a fold without one.
    """
    for fold, lines in epochs.items():
        if not lines:
            raise ConfigError(f"fold {fold} has no scored epoch: raise --steps, so that it goes on to its next one")
    last = {str(fold): lines[-1] for fold, lines in epochs.items()}
    folds = {fold: {name: line["held_out"]["dice"][name] for name in TARGETS} for fold, line in last.items()}
    cases: dict[str, Mapping[str, float]] = {}
    for line in last.values():
        cases |= line["held_out"].get("cases") or {}
    scored = list(cases.values()) or list(folds.values())
    return CrossValidation(
        folds=folds,
        cases=cases,
        mean={name: float(np.mean([dice[name] for dice in folds.values()])) for name in TARGETS},
        median={name: float(np.median([dice[name] for dice in scored])) for name in TARGETS},
        steps=min(line["step"] for line in last.values()),
    )


def write_cross_validation(out: Path, found: CrossValidation) -> Path:
    """Write OUT/cross_validation.json and return it."""
    write_json(out / CROSS_VALIDATION, to_mapping(found))
    return out / CROSS_VALIDATION
