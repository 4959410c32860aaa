"""Where measurements of this machine are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ssa_fast.errors import ConfigError

__all__ = ["cache_folder", "cache_folder_if_any"]


def cache_folder() -> Path:
    """Where the platform keeps what programs can make again, for this user.

    Raises ConfigError for a user without a home folder, as in some containers.
    """
    named = os.environ.get({"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME"))
    if named:
        return Path(named) / "ssa-fast"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ConfigError(f"no folder for what is measured here ({error}): set XDG_CACHE_HOME or HOME") from error
    below = {"win32": Path("AppData", "Local"), "darwin": Path("Library", "Caches")}.get(sys.platform, Path(".cache"))
    return home / below / "ssa-fast"


def cache_folder_if_any() -> Path | None:
    """`cache_folder`, or None for a user without a home: what would be kept there is then measured each time."""
    try:
        return cache_folder()
    except ConfigError:
        return None
