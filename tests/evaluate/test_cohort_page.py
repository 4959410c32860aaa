from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ssa_fast.evaluate.cohort_page import write_cohort_page
from tests.evaluate.test_page import written


def test_the_list_has_the_worst_first_then_those_without_reference(tmp_path: Path) -> None:
    pages = [written(tmp_path, name=name, shift=shift)[0] for name, shift in (("good", 0), ("bad", 3), ("fair", 1))]
    pages.append(written(tmp_path, name="unknown", labels=False)[0])
    text = write_cohort_page(pages, {"lost": "case lost: no t1c"}, tmp_path / "pages" / "index.html").read_text()
    links = re.findall(r'href="(\w+)\.html"', text)
    assert links == ["bad", "fair", "good", "unknown"]
    assert text.count("data:image/png;base64,") == 4
    assert "case lost: no t1c" in text


def test_the_list_says_what_is_unlike_the_training_cases(tmp_path: Path) -> None:
    page, _ = written(tmp_path)
    listed = write_cohort_page([replace(page, unlike=("brain 2 ml", "t1n median 7"))], {}, tmp_path / "index.html")
    assert "unlike the training cases: brain 2 ml; t1n median 7" in listed.read_text()
    assert "unlike" not in write_cohort_page([page], {}, tmp_path / "index.html").read_text()


def test_a_name_cannot_become_markup(tmp_path: Path) -> None:
    page, _ = written(tmp_path, name="a<b>&c")
    listed = write_cohort_page([page], {}, tmp_path / "index.html").read_text()
    assert 'href="a%3Cb%3E%26c.html"' in listed
    assert "<b>" not in listed


def test_the_list_may_load_nothing_and_run_nothing(tmp_path: Path) -> None:
    text = write_cohort_page([], {}, tmp_path / "index.html").read_text()
    assert "default-src 'none'" in text
    assert "script-src" not in text
    assert "For research only" in text
