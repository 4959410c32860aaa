"""Which slice of a volume a picture shows, and which way up."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssa_fast.volume.geometry import BoolArray, LabelArray

__all__ = ["radiological", "tumor_slice"]


def tumor_slice(labels: LabelArray, brain: BoolArray) -> int:
    """The axial slice with most foreground, of equals the middle one; of no foreground, the brain's middle slice.

    Both are (X, Y, Z) in RAS axes.
    """
    area = np.count_nonzero(labels, axis=(0, 1))
    best = np.flatnonzero(area == area.max() if area.any() else brain.any(axis=(0, 1)))
    return int(best[len(best) // 2])


def radiological(plane: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """A (X, Y) plane of RAS axes as rows and columns of a screen: anterior up, the patient's right on the left."""
    screen: npt.NDArray[np.generic] = plane[::-1, ::-1].T
    return screen
