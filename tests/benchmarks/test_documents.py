"""Tables of the pages in docs/ are those that the records make."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.documents.fill import TABLES, filled, pages
from benchmarks.documents.records import fixed, link, read_records, regions, table


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_says_what_the_records_hold(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    made = filled(text, read_records())
    # not the texts themselves: pytest would compare thousands of lines for minutes
    assert [line for line in made.splitlines() if line not in text.splitlines()] == [], "python -m benchmarks.documents"
    assert made == text, "python -m benchmarks.documents"


def test_every_table_and_every_record_has_its_place() -> None:
    texts = [page.read_text(encoding="utf-8") for page in pages()]
    for name in TABLES:
        assert sum(text.count(f"<!-- made: {name} -->") for text in texts) == 1, name
    for name in read_records():
        assert any(link(name) in text for text in texts), name


def test_only_what_stands_between_marks_is_made() -> None:
    records = {"quality": {"ensemble_fold0_mean_dice": {"a|b": [0.12345, 0.5, -0.00001]}}}
    text = "before\n<!-- made: networks together -->\nstale\n<!-- made: end -->\nafter\n"
    made = filled(text, records)
    assert "stale" not in made
    assert made.startswith("before\n<!-- made: networks together -->\n")
    assert made.endswith("\n<!-- made: end -->\nafter\n")
    assert r"| a\|b | 0.123 / 0.500 / 0.000 |" in made
    assert filled(made, records) == made
    with pytest.raises(KeyError, match="unknown"):
        filled("<!-- made: unknown -->\n<!-- made: end -->", records)


def test_numbers_are_rounded_as_people_do_and_zero_has_no_sign() -> None:
    assert [fixed(value, 2) for value in (0.125, 0.135, -0.125, -0.001, 2)] == ["0.13", "0.14", "-0.13", "0.00", "2.00"]
    assert regions({"ET": 3, "WT": 1, "TC": 2}, 0) == "1 / 2 / 3"


def test_a_table_has_a_rule_below_its_head() -> None:
    assert table(("a", "b"), [(1, None)]) == "| a | b |\n|---|---|\n| 1 |  |"
