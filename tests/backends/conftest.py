"""For tests of what is timed."""

from __future__ import annotations

import pytest

from ssa_fast import measure


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, by a clock that stands still unless a test moves it."""
    now = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    return now
