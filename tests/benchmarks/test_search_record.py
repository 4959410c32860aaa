"""The search's trainings as a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.documents.accuracy import search_groups
from benchmarks.search_record import main, mean_over_groups, scores_of_run
from ssa_fast.config import load_toml
from ssa_fast.errors import ConfigError
from ssa_fast.train.records import write_stats
from ssa_fast.train.splits import Splits

_GROUPS = load_toml(Splits, Path("data/splits/brats_ssa_15_groups.toml")).folds


def test_a_run_is_read_at_its_end(tmp_path: Path) -> None:
    name, scores = scores_of_run(_run(tmp_path, 1, whole_tumor=0.75))
    assert name == "tried"
    assert (scores["updates"], scores["minutes_of_one_core"]) == (200, 3)
    assert scores["cases"][_GROUPS[1][0]] == {"WT": 0.75, "TC": 0.25, "ET": 0.5}
    assert scores["mean_dice"] == {"WT": 0.75, "TC": 0.25, "ET": 0.5}


def test_a_mean_over_groups_counts_each_case_once() -> None:
    case = {"WT": 1.0, "TC": 1.0, "ET": 1.0}
    groups = {
        "0": {"cases": {"a": case}},
        "1": {"cases": {"b": dict.fromkeys(case, 0.0), "c": dict.fromkeys(case, 0.5)}},
    }
    assert mean_over_groups(groups) == {"WT": 0.5, "TC": 0.5, "ET": 0.5}


def test_groups_are_added_to_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "search-dice.json"
    record.write_text(json.dumps({"what": "kept", "networks": {}}))
    runs = [_run(tmp_path, group, whole_tumor=0.4 if group == 2 else 0.8) for group in range(3)]
    for some in (runs[:1], runs[1:]):
        monkeypatch.setattr("sys.argv", ["search_record", str(record), *map(str, some)])
        main()
    written: dict[str, Any] = json.loads(record.read_text())
    assert written["what"] == "kept"
    assert list(written["networks"]["tried"]["by_group"]) == ["0", "1", "2"]
    assert search_groups({"search-dice": written}).splitlines()[-1] == (
        "| tried | 200, 200, 200 | 0.800 / 0.250 / 0.500 | 0.800 / 0.250 / 0.500 | 0.400 / 0.250 / 0.500 "
        "| 0.693 / 0.250 / 0.500 | 4 |"
    )


def test_a_training_without_held_out_cases_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path, 0, whole_tumor=0.5)
    write_stats(run, [{"step": 1, "seconds": 1.0, "held_out": None}])
    with pytest.raises(ConfigError, match="no case was held out"):
        scores_of_run(run)


def test_other_cases_than_a_groups_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tmp_path, 0, whole_tumor=0.5, cases=_GROUPS[0][:2])
    record = tmp_path / "record.json"
    record.write_text("{}")
    monkeypatch.setattr("sys.argv", ["search_record", str(record), str(run)])
    with pytest.raises(ConfigError, match="these are no group of"):
        main()
    assert record.read_text() == "{}"


def _run(folder: Path, group: int, *, whole_tumor: float, cases: tuple[str, ...] | None = None) -> Path:
    run = folder / f"run-{group}"
    run.mkdir()
    (run / "model_info.json").write_text(json.dumps({"network": "tried"}))
    scores = {"WT": whole_tumor, "TC": 0.25, "ET": 0.5, "ED": 0.1}
    held_out = {"cases": dict.fromkeys(cases or _GROUPS[group], scores)}
    write_stats(
        run,
        [{"step": 100, "seconds": 80.0, "held_out": held_out}, {"step": 200, "seconds": 90.0, "held_out": held_out}],
    )
    return run
