"""The pace of a network on this machine, in the user's cache folder; without one, plans have no expected seconds."""

from __future__ import annotations

from collections.abc import Mapping

from ssa_fast.backends import Backend
from ssa_fast.cli.cache import cache_folder
from ssa_fast.errors import ConfigError
from ssa_fast.infer.pace import keep_pace, known_pace
from ssa_fast.infer.quality import Quality

__all__ = ["keep_pace_of", "pace_key", "pace_of"]


def pace_key(quality: Quality, facts: Mapping[str, object], backend: Backend) -> str:
    """What a pace is kept under: networks, device, and whether there are flips, which cost time and no GFLOP."""
    hashes = facts["bundle_sha256"]
    names = "+".join(str(one)[:16] for one in (hashes if isinstance(hashes, list) else [hashes]))
    return f"{names}{f' mirrored {quality.mirror}' if quality.mirror else ''} by {backend.device}"


def pace_of(key: str) -> float | None:
    """GFLOP a second kept under a key; None where none was, or there is no home."""
    try:
        return known_pace(cache_folder(), key)
    except ConfigError:  # a user without a home: plans then have no expected seconds
        return None


def keep_pace_of(key: str, pace: float) -> None:
    """Keep it for the next run, where there is a home."""
    try:
        keep_pace(cache_folder(), key, pace)
    except ConfigError:
        return
