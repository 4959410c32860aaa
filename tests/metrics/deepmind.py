"""DeepMind's surface-distance, to compare with where it is installed."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest


def deepmind() -> Any:
    """Its module of metrics, given the names that numpy and scipy have dropped since its release. Skips without it."""
    ndimage = pytest.importorskip("scipy.ndimage")
    library = pytest.importorskip("surface_distance.metrics", reason="needs surface-distance to compare")
    filters = types.SimpleNamespace(correlate=ndimage.correlate)
    morphology = types.SimpleNamespace(distance_transform_edt=ndimage.distance_transform_edt)
    library.ndimage = types.SimpleNamespace(filters=filters, morphology=morphology)
    library.np = types.SimpleNamespace(**{**vars(np), "Inf": np.inf})
    return library
