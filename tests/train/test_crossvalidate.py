"""Folds together: means and medians by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.metrics.overlap import TARGETS
from ssa_fast.train.crossvalidate import CROSS_VALIDATION, cross_validation, fold_folder, write_cross_validation


def _line(step: int, **cases: float) -> Mapping[str, Any]:
    """An epoch in which a case has one Dice in all targets."""
    by_case = {name: dict.fromkeys(TARGETS, dice) for name, dice in cases.items()}
    mean = sum(cases.values()) / len(cases)
    return {"step": step, "held_out": {"dice": dict.fromkeys(TARGETS, mean), "cases": by_case}}


RUNS = {0: [_line(5, A=0.99, B=0.99), _line(10, A=0.2, B=0.4)], 1: [_line(10, C=0.9)]}


def test_the_last_epoch_of_each_fold_counts_and_folds_weigh_alike() -> None:
    found = cross_validation(RUNS)
    assert found.folds["0"]["WT"] == pytest.approx(0.3)
    assert found.mean["WT"] == pytest.approx(0.6)  # of 0.3 and 0.9
    assert found.median["WT"] == pytest.approx(0.4)  # of 0.2, 0.4 and 0.9
    assert set(found.cases) == {"A", "B", "C"}
    assert found.steps == 10


def test_the_table_has_a_line_a_fold_and_two_for_all(tmp_path: Path) -> None:
    found = cross_validation(RUNS)
    titles = [line[:18].strip() for line in found.lines()]
    assert titles == ["", "fold 0", "fold 1", "mean of folds", "median of cases"]
    assert found.lines()[0].split()[:3] == ["WT", "TC", "ET"]
    assert found.lines()[1].split()[2] == "0.300"
    path = write_cross_validation(tmp_path, found)
    assert path == tmp_path / CROSS_VALIDATION
    assert json.loads(path.read_text())["folds"]["1"]["ET"] == pytest.approx(0.9)


def test_a_fold_that_was_never_scored_is_named() -> None:
    with pytest.raises(ConfigError, match="fold 1 has no scored epoch"):
        cross_validation({0: RUNS[0], 1: []})


def test_folds_lie_beside_each_other() -> None:
    assert fold_folder(Path("runs"), 3) == Path("runs/fold3")


def test_patches_give_no_cases_and_the_median_is_that_of_folds() -> None:
    lines = {
        fold: [{"step": 1, "held_out": {"dice": dict.fromkeys(TARGETS, dice)}}] for fold, dice in ((0, 0.1), (1, 0.3))
    }
    assert cross_validation(lines).median["TC"] == pytest.approx(0.2)
