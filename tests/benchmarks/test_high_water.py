"""The mark is held against arrays of known size."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.high_water import HighWater

MEGABYTES = 60

on_linux = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the mark can be set back on Linux alone"
)


@on_linux
def test_an_array_is_counted_though_it_is_gone_at_the_end_and_a_larger_one_was_there_before() -> None:
    np.ones(2 * MEGABYTES * 10**6, dtype=np.uint8)
    with HighWater() as water:
        np.ones(MEGABYTES * 10**6, dtype=np.uint8)
    assert water.added_bytes == pytest.approx(MEGABYTES * 10**6, rel=0.1)


@on_linux
def test_small_arrays_that_the_library_keeps_are_counted_again() -> None:
    kept = []
    for _ in range(2):
        with HighWater() as water:
            held = [np.ones(60_000, dtype=np.uint8) for _ in range(500)]
            kept += held[::10]  # between holes that the library does not give back by itself
            del held
        assert water.added_bytes == pytest.approx(30e6, rel=0.2)


def test_where_the_mark_stays_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmarks.high_water._CLEAR", tmp_path / "none" / "clear_refs")
    with HighWater() as water:
        pass
    assert water.added_bytes is None
