"""How fast this machine was seen to run a network: what a plan's expected seconds are worked out from."""

from __future__ import annotations

import logging
from pathlib import Path

from ssa_fast.files import read_table, write_json

__all__ = ["keep_pace", "known_pace"]

_FILE = "pace.json"
_log = logging.getLogger(__name__)


def known_pace(folder: Path, key: str) -> float | None:
    """GFLOP a second kept under `key`, which names bundle and device; None where nothing was kept."""
    value = read_table(folder / _FILE).get(key)
    return value if isinstance(value, float) and value > 0 else None


def keep_pace(folder: Path, key: str, pace: float) -> None:
    """Keep it for the next run. A cache that cannot be written costs an estimate, so it is logged and no error."""
    path = folder / _FILE
    try:
        write_json(path, {**read_table(path), key: pace})
    except OSError as error:
        _log.warning("%s: cannot be written (%s): the next plan will have no expected seconds", path, error.strerror)
