"""Commands that run in the tests' own process leave its memory as it is."""

from __future__ import annotations

import pytest

from ssa_fast.cli import train


@pytest.fixture(autouse=True)
def kept_memory(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows where training asks for freed memory to be kept, which would hold for every test after it."""
    asked: list[bool] = []
    monkeypatch.setattr(train, "keep_freed_memory", lambda: asked.append(True))
    return asked
