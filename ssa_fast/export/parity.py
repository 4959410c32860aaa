"""Whether two forms of one network give the same answer, measured on a brain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ssa_fast.backends.base import Backend
from ssa_fast.errors import ParityError
from ssa_fast.metrics.overlap import overlaps
from ssa_fast.volume.geometry import BoolArray, FloatArray
from ssa_fast.volume.postprocess import labels_from_logits

__all__ = ["AGREEMENT_NEEDED", "Parity", "compare"]

AGREEMENT_NEEDED: Mapping[str, float] = MappingProxyType({"float32": 0.999, "float16": 0.999, "bf16": 0.995})
"""Least share of brain voxels with equal labels, by precision of the weights or the arithmetic."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How close a backend comes to a reference on the same windows."""

    reference: str  # what it was compared with
    device: str  # what ran it
    windows: str  # what both were given
    label_agreement: float  # share of brain voxels with equal labels
    dice_change: float  # largest 1 - Dice between both over the targets that the reference finds
    largest_logit_error: float

    def check(self, needed: float) -> None:
        """Raises ParityError if fewer than a share of `needed` of the labels agree, or if the logits are not finite."""
        if not (np.isfinite(self.largest_logit_error) and self.label_agreement >= needed):
            raise ParityError(
                f"{self.device} agrees with {self.reference} on {self.label_agreement:.4%} of brain voxels of "
                f"{self.windows} (largest logit error {self.largest_logit_error:.3g}), wanted {needed:.2%}: "
                "nothing was written"
            )


def compare(reference: Backend, candidate: Backend, windows: FloatArray, brain: BoolArray, title: str) -> Parity:
    """The parity of `candidate` with `reference` on (1, C, X, Y, Z) windows whose `brain` is (X, Y, Z)."""
    wanted = reference.logits(windows)[0].copy()  # (K, X, Y, Z)
    seen = candidate.logits(windows)[0]
    error = float(np.abs(wanted - seen).max())
    wanted_labels = labels_from_logits(wanted) * brain
    seen_labels = labels_from_logits(seen) * brain
    found = [overlap for overlap in overlaps(wanted_labels, seen_labels).values() if overlap.reference]
    return Parity(
        reference=str(reference.device),
        device=str(candidate.device),
        windows=title,
        label_agreement=float((wanted_labels == seen_labels)[brain].mean()),
        dice_change=max((1 - overlap.dice for overlap in found), default=0.0),
        largest_logit_error=error,
    )
