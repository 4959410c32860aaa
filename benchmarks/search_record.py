"""Scores of the search's trainings as a record: the folders that `ssa-fast train` wrote, a fold each, put together.

python -m benchmarks.search_record benchmarks/results/0.1.0/search-dice.json runs/lite/fold-0 runs/lite/fold-1 ...

Words of the record (what, budget, command, machine, reading) stay as they are in the file; the scores are made anew for
the networks and groups that are given, and kept for the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.records import read_record
from ssa_fast.config import load_toml
from ssa_fast.errors import ConfigError
from ssa_fast.labels import REGIONS
from ssa_fast.train.splits import Splits

__all__ = ["SHOWN_GROUP", "main", "mean_over_groups", "scores_of_run"]

SHOWN_GROUP = "1"
"""The scanners that every trained network was tried on, as a fold of the splits below."""

_SPLITS = Path("data/splits/brats_ssa_15_groups.toml")


def scores_of_run(folder: Path) -> tuple[str, dict[str, Any]]:
    """Of one training: the network's name, and its updates, minutes and the Dice of its held-out cases at its end.

    Raises ConfigError for a folder that no training wrote, and for a training that held no case out.
    """
    name = str(read_record(folder / "model_info.json")["network"])
    epochs = json.loads((folder / "training_stats.json").read_text(encoding="utf-8"))
    held_out = epochs[-1]["held_out"] if epochs else None
    if not held_out:
        raise ConfigError(f"{folder}: no case was held out and scored: train with --splits and --fold")
    cases = held_out["cases"]
    scores = {case: {region: round(dice[region], 3) for region in REGIONS} for case, dice in cases.items()}
    minutes = round(sum(epoch["seconds"] for epoch in epochs) / 60)
    return name, {
        "updates": epochs[-1]["step"],
        "minutes_of_one_core": minutes,
        "mean_dice": _mean(scores.values()),
        "cases": scores,
    }


def mean_over_groups(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Dice by region over every case of every group, each case counted once."""
    return _mean(scores for group in groups.values() for scores in group["cases"].values())


def _mean(cases: Iterable[Mapping[str, float]]) -> dict[str, float]:
    kept = list(cases)
    return {region: round(fmean(scores[region] for scores in kept), 3) for region in REGIONS}


def _group_of(cases: Iterable[str]) -> str:
    wanted = set(cases)
    for index, fold in enumerate(load_toml(Splits, _SPLITS).folds):
        if set(fold) == wanted:
            return str(index)
    raise ConfigError(f"{', '.join(sorted(wanted))}: these are no group of {_SPLITS}: hold one of them out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    asked = parser.parse_args()
    record = dict(read_record(asked.record))
    networks: dict[str, dict[str, Any]] = record.setdefault("networks", {})
    for run in asked.runs:
        name, scores = scores_of_run(run)
        by_group = networks.get(name, {}).get("by_group", {}) | {_group_of(scores["cases"]): scores}
        networks[name] = {
            "mean_over_groups": mean_over_groups(by_group),
            "by_group": dict(sorted(by_group.items())),
        }
    asked.record.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
