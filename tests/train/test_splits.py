"""Folds: which cases are trained on and which are held out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssa_fast.config import load_toml
from ssa_fast.errors import ConfigError
from ssa_fast.train.splits import Split, Splits, count_folds, split_cases
from ssa_fast.volume.case import CaseFiles

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "splits" / "brats_ssa_15.toml"


def _cases(*names: str) -> list[CaseFiles]:
    return [CaseFiles(name=name, folder=Path(name), found={}) for name in names]


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    path = tmp_path / "splits.toml"
    path.write_text('folds = [["a", "b"], ["c"]]\n')
    return path


def test_a_fold_is_held_out_and_the_rest_is_trained_on(splits: Path) -> None:
    split = split_cases(_cases("a", "b", "c", "d"), splits, 0)
    assert [files.name for files in split.training] == ["c", "d"]
    assert [files.name for files in split.held_out] == ["a", "b"]


def test_without_folds_all_cases_are_trained_on() -> None:
    assert split_cases(_cases("a", "b"), None, None) == Split(training=_cases("a", "b"))


def test_a_fold_that_there_is_not_is_refused(splits: Path) -> None:
    with pytest.raises(ConfigError, match="has folds 0 to 1"):
        split_cases(_cases("a", "b", "c"), splits, 2)


def test_a_file_without_folds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "splits.toml"
    path.write_text("folds = []\n")
    with pytest.raises(ConfigError, match="holds no folds"):
        split_cases(_cases("a"), path, 0)


def test_a_held_out_case_that_was_not_given_is_named(splits: Path) -> None:
    with pytest.raises(ConfigError, match="holds out b, not among the cases given"):
        split_cases(_cases("a", "c"), splits, 0)


def test_a_case_may_be_in_one_fold_only() -> None:
    with pytest.raises(ConfigError, match="case a is in two folds"):
        Splits(folds=(("a",), ("b", "a")))


def test_a_fold_without_cases_is_refused() -> None:
    with pytest.raises(ConfigError, match="fold 1 holds no cases"):
        Splits(folds=(("a",), ()))


def test_folds_are_counted(splits: Path) -> None:
    assert count_folds(splits) == len(load_toml(Splits, splits).folds)


def test_the_shipped_groups_are_the_fifteen_cases_of_the_folds() -> None:
    groups = load_toml(Splits, SHIPPED.with_name("brats_ssa_15_groups.toml")).folds
    assert [len(group) for group in groups] == [5, 6, 4]
    assert sorted(sum(groups, ())) == sorted(sum(load_toml(Splits, SHIPPED).folds, ()))


def test_the_shipped_folds_hold_fifteen_cases_three_each() -> None:
    folds = load_toml(Splits, SHIPPED).folds
    assert [len(fold) for fold in folds] == [3] * 5
    assert folds[0] == ("BraTS-SSA-00002-000", "BraTS-SSA-00047-000", "BraTS-SSA-00096-000")
