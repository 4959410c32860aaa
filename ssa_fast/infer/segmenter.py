"""One case in, its segmentation out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ssa_fast import hardware
from ssa_fast.backends.base import Backend, Device
from ssa_fast.errors import ConfigError
from ssa_fast.infer.plan import Plan, plan_case
from ssa_fast.labels import LABEL_NAMES, MODALITIES
from ssa_fast.measure import Stages
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import LabelArray
from ssa_fast.volume.postprocess import labels_from_logits, restore_labels
from ssa_fast.volume.preprocess import Brain, crop_to_brain, pad_brain

__all__ = ["Segmentation", "Segmenter"]


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """The labels of one case, and how they came about."""

    name: str
    labels: LabelArray  # (X, Y, Z), in the shape and axes of the case's files
    plan: Plan
    device: Device
    seconds: Mapping[str, float]  # a stage

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of each label in millilitres: cases have voxels of 1 mm3."""
        counts = np.bincount(self.labels.ravel(order="K"), minlength=1 + max(LABEL_NAMES))
        return {name: int(counts[label]) / 1000 for label, name in LABEL_NAMES.items()}


class Segmenter:
    """Segments cases with one open backend."""

    def __init__(self, backend: Backend, budget_bytes: int | None = None) -> None:
        """`budget_bytes` is the memory that a case's arrays may take; None: what the machine has left then.

        Raises ConfigError if the network wants other modalities, or another order, than cases are read in.
        """
        if backend.spec.modalities != MODALITIES:
            raise ConfigError(
                f"network '{backend.spec.name}' reads {' '.join(backend.spec.modalities)}, "
                f"cases hold {' '.join(MODALITIES)}"
            )
        self.backend = backend
        self._budget_bytes = budget_bytes

    def plan(self, brain: Brain) -> Plan:
        """What `segment` will do with a brain.

        Raises BudgetError if its pass does not fit the memory.
        """
        budget = hardware.usable_memory_bytes() if self._budget_bytes is None else self._budget_bytes
        return plan_case(brain.box.shape, self.backend.spec, budget)

    def segment(self, case: Case, on_plan: Callable[[Plan], None] | None = None) -> Segmentation:
        """The segmentation of a case; `on_plan` hears of the plan before the network runs.

        Raises CaseError for a case with nothing to normalize, BudgetError like `plan`, NumericsError for NaN.
        """
        stages = Stages()
        with stages.measure("prepare"):
            brain = crop_to_brain(case)
            plan = self.plan(brain)
            if on_plan is not None:
                on_plan(plan)
            windows, inner = pad_brain(brain, self.backend.spec.divisor)  # (1, C, X, Y, Z)
        with stages.measure("network"):
            logits = self.backend.logits(windows)[0]  # (K, X, Y, Z)
        with stages.measure("labels"):
            labels = restore_labels(labels_from_logits(logits), inner, brain, case)
        return Segmentation(
            name=case.name, labels=labels, plan=plan, device=self.backend.device, seconds=stages.seconds
        )
