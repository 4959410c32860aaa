"""A machine that a test makes up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssa_fast.hardware import cpu

Machine = Callable[[dict[str, str]], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A function that makes the kernel's text files hold what a test says; any other one is absent."""

    def pretend(files: dict[str, str]) -> None:
        def read_text(path: Path, *_: object, **__: object) -> str:
            if path.as_posix() not in files:
                raise FileNotFoundError(2, "No such file or directory", str(path))
            return files[path.as_posix()]

        monkeypatch.setattr(Path, "read_text", read_text)

    cpu.cache_clear()
    yield pretend
    cpu.cache_clear()
