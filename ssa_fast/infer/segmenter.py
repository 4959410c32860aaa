"""One case in, its segmentation out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ssa_fast.backends.base import Backend, Device
from ssa_fast.errors import ConfigError
from ssa_fast.infer.plan import Plan, plan_case
from ssa_fast.labels import LABEL_NAMES, MODALITIES
from ssa_fast.measure import Stages
from ssa_fast.model.spec import PREPROCESSING, ModelSpec
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import LabelArray
from ssa_fast.volume.postprocess import labels_from_logits, restore_labels
from ssa_fast.volume.preprocess import Brain, crop_to_brain, pad_brain

__all__ = ["Segmentation", "Segmenter"]

_log = logging.getLogger(__name__)


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
        """`budget_bytes` is the memory that a case's arrays may take; None: what the device has left then.

        Raises ConfigError if the network wants cases read, ordered or prepared in another way than they are here, or
        if its labels are others.
        """
        _check_spec(backend.spec)
        self.backend = backend
        self._budget_bytes = budget_bytes

    def plan(self, brain: Brain) -> Plan:
        """What `segment` will do with a brain.

        Raises BudgetError if its pass does not fit the memory.
        """
        budget = self.backend.free_bytes() if self._budget_bytes is None else self._budget_bytes
        _log.info("memory granted: %s", "not limited" if budget is None else f"{budget / 1e9:.2f} GB")
        return plan_case(brain.box.shape, self.backend.spec, budget)

    def segment(self, case: Case, on_plan: Callable[[Plan], None] | None = None) -> Segmentation:
        """The segmentation of a case; `on_plan` hears of the plan before the network runs.

        Raises CaseError for a case with nothing to normalize, BudgetError like `plan`, BackendError if the engine
        fails, NumericsError for NaN.
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


def _check_spec(spec: ModelSpec) -> None:
    labels = ("background", *LABEL_NAMES.values())
    wanted = (
        ("reads", " ".join(spec.modalities), "cases hold", " ".join(MODALITIES)),
        ("gives the labels", " ".join(spec.labels), "segmentations hold", " ".join(labels)),
        ("was trained on volumes", spec.preprocessing, "cases are prepared as", PREPROCESSING),
    )
    for verb, theirs, our_verb, ours in wanted:
        if theirs != ours:
            raise ConfigError(f"network '{spec.name}' {verb} {theirs}, {our_verb} {ours}: take another bundle")
