from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssa_fast.evaluate.cohort_page import write_cohort_page
from ssa_fast.evaluate.page import write_case_page
from tests.cases import SHAPE, write_nifti
from tests.evaluate.test_page import case_with_record, written


def test_the_list_has_the_worst_first_then_those_without_reference(tmp_path: Path) -> None:
    pages = [written(tmp_path, name=name, shift=shift)[0] for name, shift in (("good", 0), ("bad", 3), ("fair", 1))]
    pages.append(written(tmp_path, name="unknown", labels=False)[0])
    text = write_cohort_page(pages, {"lost": "case lost: no t1c"}, tmp_path / "pages" / "index.html").read_text()
    links = re.findall(r'href="(\w+)\.html"', text)
    assert links == ["bad", "fair", "good", "unknown"]
    assert text.count("data:image/png;base64,") == 4
    assert "case lost: no t1c" in text


def test_a_case_without_any_tumor_is_the_first_of_those_without_reference(tmp_path: Path) -> None:
    doubted = replace(written(tmp_path, name="doubted", labels=False)[0], least_expected=0.0)
    files, prediction = case_with_record(tmp_path, name="empty", labels=False)
    write_nifti(prediction, np.zeros(SHAPE, dtype=np.uint8))
    empty = write_case_page(files, prediction, tmp_path / "pages" / "empty.html")
    text = write_cohort_page([doubted, empty], {}, tmp_path / "pages" / "index.html").read_text()
    assert re.findall(r'href="(\w+)\.html"', text) == ["empty", "doubted"]
    assert "no reference; no tumour was found" in text


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
