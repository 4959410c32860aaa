"""What is asked of an answer beyond one look of one network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ssa_fast.volume.nifti import MapType

__all__ = ["Quality"]

_KEPT_BYTES = 2  # a value of a map
_WRITTEN_BYTES = 9  # a voxel of the files: a map in float32 as it is put back, another as it is turned, a mask


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Options that cost time or memory, which the plan tells, for a better or a fuller answer."""

    mirror: str = ""  # axes of the brain in RAS, such as x or xyz: the mean over every flip along them
    probabilities: bool = False  # kept beside the labels
    uncertainty: bool = False  # maps of doubt, and a number a region
    postprocess: str | None = None  # a profile of `volume.postprocess`; None: what the bundle names
    map_type: MapType = "uint8"  # of the maps' files

    @property
    def has_maps(self) -> bool:
        """Whether more is kept of the network's answer than labels."""
        return self.probabilities or self.uncertainty

    def map_bytes(self, shape: Sequence[int], files_shape: Sequence[int], classes: int) -> int:
        """Memory that maps of a padded box (X, Y, Z) take, and writing one of them on its files' grid."""
        if not self.has_maps:
            return 0
        return _KEPT_BYTES * (classes + 1) * math.prod(shape) + _WRITTEN_BYTES * math.prod(files_shape)
