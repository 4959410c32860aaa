from __future__ import annotations

from pathlib import Path

import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.evaluate.strata import check_table, strata
from ssa_fast.metrics.profiles import OVERLAP
from tests.evaluate.evaluations import in_profile

EVALUATION = in_profile(OVERLAP, A=0.1, B=0.5, C=0.9)


def table(folder: Path, text: str) -> Path:
    path = folder / "sites.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_groups_are_those_of_the_column_and_a_case_that_is_not_there_says_so(tmp_path: Path) -> None:
    path = table(tmp_path, "scanner,case,site\n1.5 T,A,Lagos\n3 T,B,Accra\n3 T,other,Accra\n")
    assert strata(EVALUATION, "site", path) == {"A": "Lagos", "B": "Accra", "C": "not in sites.csv"}


def test_without_a_column_case_the_first_is_taken(tmp_path: Path) -> None:
    path = table(tmp_path, "name,site\nA,x\nB,y\nC,x\n")
    assert strata(EVALUATION, "site", path) == {"A": "x", "B": "y", "C": "x"}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffsite,case\nx,A\ny,B\nx,C\n")
    assert strata(EVALUATION, "site", path) == {"A": "x", "B": "y", "C": "x"}


def test_volume_needs_no_table_and_parts_the_cases_into_thirds() -> None:
    assert strata(EVALUATION, "volume", None) == {"A": "1: 10 to 10 ml", "B": "2: 50 to 50 ml", "C": "3: 90 to 90 ml"}


def test_many_numbers_become_thirds_and_few_stay_as_they_are(tmp_path: Path) -> None:
    names = "ABCDEFG"
    evaluation = in_profile(OVERLAP, **dict.fromkeys(names, 0.5))
    lines = "\n".join(f"{name},{40 + place},{place % 2}" for place, name in enumerate(names))
    path = table(tmp_path, f"case,age,sex\n{lines}\n")
    assert sorted(set(strata(evaluation, "age", path).values())) == ["1: 40 to 41", "2: 42 to 43", "3: 44 to 46"]
    assert set(strata(evaluation, "sex", path).values()) == {"0", "1"}


def test_an_empty_field_is_a_group_that_says_so_and_no_number(tmp_path: Path) -> None:
    names = "ABCDEFGHI"
    evaluation = in_profile(OVERLAP, **dict.fromkeys(names, 0.5))
    ages = [*map(str, range(40, 47)), "", "nan"]
    path = table(tmp_path, "case,age\n" + "\n".join(f"{name},{age}" for name, age in zip(names, ages, strict=True)))
    found = strata(evaluation, "age", path)
    assert [found["H"], found["I"]] == ["no age in sites.csv"] * 2
    assert sorted(set(found.values())) == ["1: 40 to 41", "2: 42 to 43", "3: 44 to 46", "no age in sites.csv"]


def test_infinity_is_a_word_and_no_number(tmp_path: Path) -> None:
    path = table(tmp_path, "case,dose\nA,inf\nB,1\nC,2\n")
    assert strata(EVALUATION, "dose", path) == {"A": "inf", "B": "1", "C": "2"}


@pytest.mark.parametrize(
    ("text", "column", "seen"),
    [
        ("case,site\nA,x\n", "sites", "has no column 'sites': did you mean site?"),
        ("case,site\nA,x\nA,y\n", "site", "case A has 'x' and 'y' as site"),
        ("", "site", "has no column 'site'"),
    ],
)
def test_a_table_that_does_not_tell_is_refused_in_one_line(tmp_path: Path, text: str, column: str, seen: str) -> None:
    path = table(tmp_path, text)
    for early_or_late in (lambda: check_table(column, path), lambda: strata(EVALUATION, column, path)):
        with pytest.raises(ConfigError) as refused:
            early_or_late()
    assert str(path) in str(refused.value)
    assert seen in str(refused.value)


def test_a_table_that_is_absent_or_not_given_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as CSV"):
        strata(EVALUATION, "site", tmp_path / "absent.csv")
    with pytest.raises(ConfigError, match="--by site needs --table"):
        strata(EVALUATION, "site", None)
