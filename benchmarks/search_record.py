"""Scores of the search's trainings as a record: the folders that `ssa-fast train` wrote, a fold each, put together.

python -m benchmarks.search_record benchmarks/results/0.1.0/search-dice.json runs/lite/fold-0 runs/lite/fold-1 ...

Words of the record (what, budget, command, machine, reading) stay as they are in the file: look whether they hold.
Scores are made anew for the networks and groups that are given, and kept for the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.records import read_record
from ssa_fast.config import load_toml
from ssa_fast.errors import ConfigError
from ssa_fast.evaluate.training_run import read_training_run
from ssa_fast.files import write_json
from ssa_fast.labels import REGIONS
from ssa_fast.train.splits import Splits

__all__ = ["main", "mean_over_cases", "scores_of_run"]

_SPLITS = Path(__file__).parents[1] / "data" / "splits" / "brats_ssa_15_groups.toml"
_DIGITS = 5  # of a case: means are rounded once, where they are shown


def scores_of_run(folder: Path) -> tuple[str, dict[str, Any]]:
    """Of one training: the network's name, and its updates, minutes and the Dice of its held-out cases at its end.

    Its end is the last epoch of its folder. Raises ConfigError for a folder that no training wrote, and for a training
    that scored no held-out case whole.
    """
    run = read_training_run(folder)
    epochs = run.epochs
    cases = (epochs[-1]["held_out"] or {}).get("cases")
    if not cases:
        raise ConfigError(f'{folder}: no case was held out and scored whole: --splits, --fold and held_out = "cases"')
    scores = {case: {region: round(dice[region], _DIGITS) for region in REGIONS} for case, dice in cases.items()}
    minutes = round(sum(epoch["seconds"] for epoch in epochs) / 60)  # with the scoring
    mean_dice = _mean(scores.values())
    return str(run.info["network"]), {
        "updates": epochs[-1]["step"],
        "minutes": minutes,
        "mean_dice": mean_dice,
        "cases": scores,
    }


def mean_over_cases(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Dice by region over every case of every group, each case counted once."""
    return _mean(scores for group in groups.values() for scores in group["cases"].values())


def _mean(cases: Iterable[Mapping[str, float]]) -> dict[str, float]:
    kept = list(cases)
    return {region: round(fmean(scores[region] for scores in kept), _DIGITS) for region in REGIONS}


def _group_of(run: Path, cases: Iterable[str], folds: Iterable[Iterable[str]]) -> str:
    wanted = set(cases)
    for index, fold in enumerate(folds):
        if set(fold) == wanted:
            return str(index)
    raise ConfigError(f"{run}: {', '.join(sorted(wanted))} are no group of data/splits/{_SPLITS.name}: hold one out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--name", help="of the runs in the record, all of one network, if not the network's")
    asked = parser.parse_args()
    record = read_record(asked.record)
    folds = load_toml(Splits, _SPLITS).folds
    networks: dict[str, dict[str, Any]] = record.setdefault("networks", {})
    found = [(run, *scores_of_run(run)) for run in asked.runs]
    if asked.name and len({network for _, network, _ in found}) > 1:
        raise ConfigError(f"--name {asked.name}: the runs are of {' and '.join(sorted({of for _, of, _ in found}))}")
    for run, network, scores in found:
        name = asked.name or network
        by_group = networks.get(name, {}).get("by_group", {}) | {_group_of(run, scores["cases"], folds): scores}
        networks[name] = {"by_group": dict(sorted(by_group.items()))}
        if len(by_group) == len(folds):
            networks[name]["mean_over_cases"] = mean_over_cases(by_group)
    write_json(asked.record, record)


if __name__ == "__main__":
    main()
