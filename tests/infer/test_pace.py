"""What a machine was seen to do, kept."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ssa_fast.infer.pace import keep_pace, known_pace


def test_a_pace_is_kept_beside_the_others(tmp_path: Path) -> None:
    assert known_pace(tmp_path, "a") is None
    keep_pace(tmp_path, "a", 100.0)
    keep_pace(tmp_path, "b", 50.0)
    keep_pace(tmp_path, "a", 110.0)
    assert (known_pace(tmp_path, "a"), known_pace(tmp_path, "b"), known_pace(tmp_path, "c")) == (110.0, 50.0, None)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": "fast"}', '{"a": -1.0}'])
def test_a_damaged_cache_tells_nothing_and_is_made_anew(content: str, tmp_path: Path) -> None:
    (tmp_path / "pace.json").write_text(content)
    assert known_pace(tmp_path, "a") is None
    keep_pace(tmp_path, "a", 3.0)
    assert known_pace(tmp_path, "a") == 3.0


def test_a_cache_that_cannot_be_written_is_told_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        keep_pace(tmp_path / "file", "a", 3.0)
    assert "no expected seconds" in caplog.text
