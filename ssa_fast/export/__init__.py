"""From weights to bundles and engines, each proven equal to what it was made from."""

import logging

__all__ = ["NOTICES"]

NOTICES = logging.getLogger(__name__)
"""Says what takes long while it is done: as INFO what passes, as WARNING what is to stay."""
