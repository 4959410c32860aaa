"""Connected parts of a voxel set, and the set grown by its neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import BackendUnavailable
from ssa_fast.volume.geometry import BoolArray, Box, bounding_box

__all__ = ["PartsArray", "box_around", "components", "grow"]

PartsArray = npt.NDArray[np.uint32]  # 0 outside, then the number of the part


def components(mask: BoolArray) -> PartsArray:
    """The parts of a (X, Y, Z) set that touch by a face, an edge or a corner, numbered from 1; 0 outside.

    Raises BackendUnavailable without connected-components-3d.
    """
    try:
        import cc3d
    except ImportError as error:
        raise BackendUnavailable(
            f"lesions need 'connected-components-3d': pip install 'ssa-fast[evaluate]' ({error})"
        ) from error
    return np.asarray(cc3d.connected_components(mask, connectivity=26), dtype=np.uint32)


def grow(mask: BoolArray, steps: int) -> BoolArray:
    """The set with all that is within `steps` steps of it, each to a neighbour by a face or an edge.

    Equal to scipy's binary_dilation with generate_binary_structure(3, 2), in a third of its time.
    """
    for _ in range(steps):
        along_x, along_y = _spread(mask, 0), _spread(mask, 1)
        mask = _spread(along_x, 1) | _spread(along_x, 2) | _spread(along_y, 2)
    return mask


def box_around(mask: BoolArray, margin: int) -> Box:
    """The smallest box that holds the set and `margin` voxels around it, cut off at the border of the array.

    Raises ShapeError if the set is empty.
    """
    box = bounding_box(mask)
    (x0, y0, z0), (x1, y1, z1), (x, y, z) = box.start, box.stop, mask.shape
    start = max(0, x0 - margin), max(0, y0 - margin), max(0, z0 - margin)
    return Box(start, (min(x, x1 + margin), min(y, y1 + margin), min(z, z1 + margin)))


def _spread(mask: BoolArray, axis: int) -> BoolArray:
    """The set and its two neighbours along one axis."""
    spread: BoolArray = mask.copy()
    here, there = np.moveaxis(spread, axis, 0), np.moveaxis(mask, axis, 0)
    here[1:] |= there[:-1]
    here[:-1] |= there[1:]
    return spread
