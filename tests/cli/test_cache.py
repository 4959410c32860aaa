"""Where measurements of this machine are kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ssa_fast.cli.cache import cache_folder
from ssa_fast.errors import ConfigError


@pytest.mark.parametrize(
    ("platform", "variable", "folder"),
    [
        ("linux", "XDG_CACHE_HOME", "ssa-fast"),
        ("win32", "LOCALAPPDATA", "ssa-fast"),
        ("linux", None, ".cache/ssa-fast"),
        ("darwin", None, "Library/Caches/ssa-fast"),
        ("win32", None, "AppData/Local/ssa-fast"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_such_things(
    platform: str, variable: str | None, folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    assert cache_folder() == tmp_path / folder


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="set XDG_CACHE_HOME or HOME"):
        cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/ssa-fast")
