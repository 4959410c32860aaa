"""What is asked of an answer beyond one look of one network."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Quality"]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Options that cost time or memory, which the plan tells, for a better or a fuller answer."""

    mirror: str = ""  # axes of the brain in RAS, such as x or xyz: the mean over every flip along them
