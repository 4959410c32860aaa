"""The search's trainings as a record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.documents.accuracy import search_groups
from benchmarks.search_record import main, mean_over_cases, scores_of_run
from ssa_fast.config import load_toml
from ssa_fast.errors import ConfigError
from ssa_fast.train.records import write_stats
from ssa_fast.train.splits import Splits

_GROUPS = load_toml(Splits, Path("data/splits/brats_ssa_15_groups.toml")).folds


def test_a_run_is_read_at_its_end(tmp_path: Path) -> None:
    name, scores = scores_of_run(_run(tmp_path, 1, whole_tumor=0.75))
    assert name == "tried"
    assert (scores["updates"], scores["minutes"]) == (200, 3)
    assert scores["cases"][_GROUPS[1][0]] == {"WT": 0.75, "TC": 0.25, "ET": 0.5}
    assert scores["mean_dice"] == {"WT": 0.75, "TC": 0.25, "ET": 0.5}


def test_a_mean_over_groups_counts_each_case_once() -> None:
    one, half, none = ({"WT": dice, "TC": dice, "ET": dice} for dice in (1.0, 0.5, 0.0))
    groups = {"0": {"cases": {"a": one}}, "1": {"cases": {"b": none, "c": half}}}
    assert mean_over_cases(groups) == half


def test_groups_are_added_to_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "search-dice.json"
    record.write_text(json.dumps({"what": "kept", "networks": {}}))
    runs = [_run(tmp_path, group, whole_tumor=0.4 if group == 2 else 0.8) for group in range(3)]
    _main(monkeypatch, record, runs[1:])
    written = json.loads(record.read_text())
    assert "mean_over_cases" not in written["networks"]["tried"]
    assert search_groups({"search-dice": {"networks": {}}, "search-seed-43": written}).splitlines()[-1] == (
        "| tried | 43 | 200, 200 | not trained | 0.800 / 0.250 / 0.500 | 0.400 / 0.250 / 0.500 |  | 4 |"
    )
    _main(monkeypatch, record, runs[:1])
    written = json.loads(record.read_text())
    assert written["what"] == "kept"
    assert list(written["networks"]["tried"]["by_group"]) == ["0", "1", "2"]
    records = {"search-dice": {"networks": {}}, "search-seed-43": written}
    assert search_groups(records).splitlines()[-1] == (
        "| tried | 43 | 200, 200, 200 | 0.800 / 0.250 / 0.500 | 0.800 / 0.250 / 0.500 | 0.400 / 0.250 / 0.500 "
        "| 0.693 / 0.250 / 0.500 | 4 |"
    )


def test_runs_of_one_network_are_told_apart_by_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "search-variants.json"
    record.write_text("{}")
    for name, whole_tumor in (("tried, seed 43", 0.5), ("tried, N4", 0.7)):
        run = _run(tmp_path / name, 1, whole_tumor=whole_tumor)
        _main(monkeypatch, record, [run], "--name", name)
    networks = json.loads(record.read_text())["networks"]
    assert {name: of["by_group"]["1"]["mean_dice"]["WT"] for name, of in networks.items()} == {
        "tried, seed 43": 0.5,
        "tried, N4": 0.7,
    }


def test_runs_of_two_networks_get_no_name_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "record.json"
    record.write_text("{}")
    runs = [_run(tmp_path / name, 1, whole_tumor=0.5) for name in ("one", "other")]
    (runs[1] / "model_info.json").write_text(json.dumps({"network": "wide"}))
    with pytest.raises(ConfigError, match="the runs are of tried and wide"):
        _main(monkeypatch, record, runs, "--name", "seed 43")
    assert record.read_text() == "{}"


@pytest.mark.parametrize("held_out", [None, {"dice": {"WT": 0.5, "TC": 0.5, "ET": 0.5}, "cases": {}}])
def test_a_training_without_whole_held_out_cases_is_refused(tmp_path: Path, held_out: dict[str, Any] | None) -> None:
    run = _run(tmp_path, 0, whole_tumor=0.5)
    write_stats(run, [_epoch(1, held_out)])
    with pytest.raises(ConfigError, match="no case was held out and scored whole"):
        scores_of_run(run)


def test_a_run_that_has_ended_no_epoch_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path, 0, whole_tumor=0.5)
    write_stats(run, [])
    with pytest.raises(ConfigError, match="name the folder of a run that has ended an epoch"):
        scores_of_run(run)


def test_other_cases_than_a_groups_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tmp_path, 0, whole_tumor=0.5, cases=_GROUPS[0][:2])
    record = tmp_path / "record.json"
    record.write_text("{}")
    with pytest.raises(ConfigError, match=r"run-0: .* are no group of"):
        _main(monkeypatch, record, [run])
    assert record.read_text() == "{}"


def _main(monkeypatch: pytest.MonkeyPatch, record: Path, runs: Sequence[Path], *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["search_record", str(record), *map(str, runs), *words])
    main()


def _run(folder: Path, group: int, *, whole_tumor: float, cases: tuple[str, ...] = ()) -> Path:
    run = folder / f"run-{group}"
    run.mkdir(parents=True)
    (run / "model_info.json").write_text(json.dumps({"network": "tried"}))
    late = {"WT": whole_tumor, "TC": 0.25, "ET": 0.5, "ED": 0.1}
    early = dict.fromkeys(late, 0.01)
    scored = ({"dice": of, "cases": dict.fromkeys(cases or _GROUPS[group], of)} for of in (early, late))
    write_stats(run, [_epoch(count, held_out) for count, held_out in enumerate(scored, start=1)])
    return run


def _epoch(count: int, held_out: Mapping[str, Any] | None) -> dict[str, Any]:
    facts = {"loss": 0.5, "learning_rate": 0.0, "seconds": 85.0, "peak_memory_bytes": 1, "held_out": held_out}
    return {"epoch": count, "step": 100 * count, **facts}
