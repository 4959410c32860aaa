"""What a training run wrote of itself, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssa_fast.errors import ConfigError
from ssa_fast.labels import REGIONS

__all__ = ["INFO", "STATS", "TrainingRun", "is_training_run", "read_training_run"]

STATS, INFO = "training_stats.json", "model_info.json"
"""Files of a run, as `train` names them."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """The epochs of a run, in order, and the facts of what it trained and where."""

    name: str
    epochs: Sequence[Mapping[str, Any]]  # the lines of training_stats.json
    info: Mapping[str, Any]  # model_info.json

    @property
    def scored(self) -> list[Mapping[str, Any]]:
        """The epochs that were scored on held-out cases."""
        return [epoch for epoch in self.epochs if epoch["held_out"]]

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The epoch of the highest mean Dice of WT, TC and ET; None if none was scored."""
        return max(self.scored, key=region_dice) if self.scored else None

    @property
    def held_out(self) -> list[str]:
        """The cases that were held out, where they are scored whole."""
        return sorted({case for epoch in self.scored for case in epoch["held_out"].get("cases", {})})

    def series(self, *keys: str) -> tuple[list[int], list[float]]:
        """Updates made and a number of each epoch that has it: `series("held_out", "dice", "WT")`."""
        steps, values = [], []
        for epoch in self.epochs:
            value: Any = epoch
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                steps.append(int(epoch["step"]))
                values.append(float(value))
        return steps, values

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Names and values to read."""
        last, info = self.epochs[-1], self.info
        hours = sum(epoch["seconds"] for epoch in self.epochs) / 3600
        rows = [
            ("epochs, updates", f"{len(self.epochs)}, {last['step']}"),
            ("last loss", f"{last['loss']:.4f}"),
            ("time", f"{hours:.2f} h (measured; what ran before a stop may be left out)"),
            ("peak memory", f"{max(epoch['peak_memory_bytes'] for epoch in self.epochs) / 1e9:.2f} GB (measured)"),
        ]
        best = self.best
        if best is not None:
            rows.append(
                ("best epoch", f"{best['epoch']}: mean Dice {region_dice(best):.3f} (chosen by these very cases)")
            )
            rows.append(("held-out cases", str(len(self.held_out)) if self.held_out else "scored by patches"))
        _, share = self.series("share_of_peak")
        if share:
            rows.append(("share of peak", f"{np.mean(share):.0%} of the machine's, measured"))
        rows += [
            (word, str(info[key])) for word, key in (("network", "network"), ("precision", "precision")) if key in info
        ]
        if "parameters" in info:
            rows.append(("parameters", f"{info['parameters'] / 1e6:.2f} million"))
        if "patch" in info:
            rows.append(("patch", " x ".join(map(str, info["patch"]))))
        if "machine" in info:
            rows.append(("machine", str(info["machine"]).split(";")[0]))
        return rows


def region_dice(epoch: Mapping[str, Any]) -> float:
    """Mean Dice of WT, TC and ET of a scored epoch."""
    return float(np.mean([epoch["held_out"]["dice"][region] for region in REGIONS]))


def is_training_run(folder: Path) -> bool:
    """Whether the folder is one that `train` wrote."""
    return (folder / STATS).is_file()


def read_training_run(folder: Path) -> TrainingRun:
    """The run in a folder. Raises ConfigError if its files are none of `train`, damaged, or without an epoch."""
    path = folder / STATS
    try:
        epochs = json.loads(path.read_text(encoding="utf-8"))
        for epoch in epochs:
            numbers = [epoch[key] for key in ("epoch", "step", "loss", "learning_rate", "seconds", "peak_memory_bytes")]
            np.asarray(numbers, dtype=np.float64)
            if epoch["held_out"]:
                region_dice(epoch)
        if not epochs or not isinstance(epochs, list):
            raise ValueError("no epoch is in it")
        path = folder / INFO
        info = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if not isinstance(info, dict):
            raise ValueError("no facts are in it")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: cannot be read as a record of 'train' ({type(error).__name__}: {error}): name the folder of a "
            "run that has ended an epoch"
        ) from error
    return TrainingRun(name=folder.resolve().name, epochs=epochs, info=info)
