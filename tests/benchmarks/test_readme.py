"""README.md's figures are those of the records, and each of its numbers is put in from one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.readme import BEGIN, END, README, TEMPLATE, block_of, filled, main, with_block
from ssa_fast.errors import ConfigError

# Names and settings that hold digits and are no measurements.
NAMES = re.compile(
    r"\{\{[^{}]*\}\}|`[^`]*`|\([^()]*benchmarks/README\.md\)|float(16|32)|bf16|int8|AVX512-BF16|GTX 1650|128\^3|fold 0|"
    r"nnU-Net v2\.8|step 0\.5|22\.6 M"
)


def test_the_readme_has_the_figures_of_the_records() -> None:
    """If this fails: python -m benchmarks.readme."""
    assert main(["--check"]) == 0


def test_every_number_comes_from_a_record() -> None:
    prose = NAMES.sub("", TEMPLATE.read_text(encoding="utf-8"))
    assert not re.search(r".{0,40}\d.{0,20}", prose), re.findall(r".{0,40}\d.{0,20}", prose)


def test_another_number_in_the_readme_is_found_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = README.read_text(encoding="utf-8")
    copy = tmp_path / "README.md"
    copy.write_text(text.replace("GB |", "MB |", 1), encoding="utf-8")
    assert main(["--check", "--readme", str(copy)]) == 1
    assert "python -m benchmarks.readme" in capsys.readouterr().err
    assert main(["--readme", str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == text


def test_what_stands_around_the_block_stays() -> None:
    readme = f"before 1\n{BEGIN}\nold\n{END}\nafter 2\n"
    assert block_of(readme) == "\nold\n"
    assert with_block(readme, "\nnew\n") == f"before 1\n{BEGIN}\nnew\n{END}\nafter 2\n"
    for broken in (readme.replace(END, ""), readme + BEGIN, f"{END} {BEGIN}"):
        with pytest.raises(ConfigError, match="once each"):
            with_block(broken, "")


def test_places_are_filled_in_the_asked_form(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps({"a": {"b c": [1.234, 5]}, "shares": {"x": 0.999, "y": 0.99932}}))
    template = "{{one|a/b c/0|.2f}} {{one|a/b c#max|.0f}} {{one|shares#min|%.1f}} {{one|shares/y|%.0f}}"
    assert filled(template, tmp_path) == "1.23 5 99.9 % 100 %"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("{{one|a/c|.2f}}", "no 'a > c' in it"),
        ("{{one|a}}", r"wanted record\|way\|format"),
        ("{{two|a|.2f}}", "cannot be read"),
        ("{{table:chairs}}", "no table 'chairs'"),
    ],
)
def test_a_place_without_a_number_is_refused(place: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"a": {"b": 1}}')
    with pytest.raises(ConfigError, match=said):
        filled(place, tmp_path)
