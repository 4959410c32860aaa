"""What an export is at: one of many cases in int8 takes minutes."""

from __future__ import annotations

import logging

__all__ = ["NOTICES"]

NOTICES = logging.getLogger(__name__)
"""Says each step that takes long before it is taken, as INFO."""
