"""From logits back to a label map on the grid of the input."""

from __future__ import annotations

import numpy as np

from ssa_fast.errors import NumericsError
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import Box, FloatArray, LabelArray, to_orientation
from ssa_fast.volume.preprocess import Brain

__all__ = ["NAN_LOGITS", "labels_from_logits", "restore_labels", "restore_map"]

NAN_LOGITS = "the network gave NaN logits: take --precision float32, or another backend"
"""What NumericsError says of them, wherever labels are made."""


def labels_from_logits(logits: FloatArray) -> LabelArray:
    """The label of the largest logit: (K, X, Y, Z) -> (X, Y, Z); the lowest label wins a tie.

    Raises NumericsError if a logit is NaN.
    Two running arrays instead of numpy's argmax over a strided axis: five times as fast at four labels.
    """
    labels: LabelArray = np.zeros(logits.shape[1:], dtype=np.uint8)
    best = logits[0].copy()
    for label, channel in enumerate(logits[1:], start=1):
        labels[channel > best] = label
        np.maximum(best, channel, out=best)
    if np.isnan(best).any():  # maximum carries it along
        raise NumericsError(NAN_LOGITS)
    return labels


def restore_labels(labels: LabelArray, inner: Box, brain: Brain, case: Case) -> LabelArray:
    """Labels of the padded box (X, Y, Z) put back: in the case's shape and axes, 0 outside the brain."""
    turned = np.zeros(brain.ras_shape, dtype=np.uint8)
    turned[brain.box.slices] = labels[inner.slices] * brain.foreground
    return np.asarray(to_orientation(turned, case.grid.affine), dtype=np.uint8)


def restore_map(values: FloatArray, inner: Box, brain: Brain, case: Case, outside: float) -> FloatArray:
    """A map of the padded box (X, Y, Z) put back as `restore_labels` does, and `outside` outside the brain."""
    turned: FloatArray = np.full(brain.ras_shape, outside, dtype=np.float32)
    turned[brain.box.slices] = np.where(brain.foreground, values[inner.slices], np.float32(outside))
    return np.asarray(to_orientation(turned, case.grid.affine), dtype=np.float32)
