"""Scores of held-out cases while a network is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssa_fast.backends.pytorch import PytorchBackend
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.metrics.overlap import overlaps
from ssa_fast.model.spec import ModelSpec
from ssa_fast.train.placement import Placement
from ssa_fast.train.run import Run
from ssa_fast.volume.case import CaseFiles, read_case, read_reference
from ssa_fast.volume.geometry import to_ras
from ssa_fast.volume.preprocess import crop_to_brain

__all__ = ["check_held_out", "mean_dice", "open_segmenter"]


def open_segmenter(run: Run, placement: Placement) -> Segmenter:
    """A segmenter with the averaged weights of a run, in float32; it follows them as they change."""
    spec = ModelSpec(name=run.config.preset, network=run.config.network, window=run.config.patch)
    return Segmenter(PytorchBackend(run.averaged, spec, placement.device, "float32"))


def check_held_out(segmenter: Segmenter, held_out: Sequence[CaseFiles]) -> None:
    """Read every held-out case once, so that a bad one is known before training and not hours later.

    Raises CaseError for images or a reference that cannot be used or are not there, BudgetError for a brain that does
    not fit the memory.
    """
    for files in held_out:
        case = read_case(files)
        read_reference(files, case)
        segmenter.plan(crop_to_brain(case))


def mean_dice(segmenter: Segmenter, held_out: Sequence[CaseFiles]) -> dict[str, float]:
    """Mean Dice of each target over whole cases, segmented as they will be in use.

    Raises what `check_held_out` does, and NumericsError if the network gives NaN.
    """
    scores: dict[str, list[float]] = {}
    for files in held_out:
        case = read_case(files)
        predicted = np.asarray(to_ras(segmenter.segment(case).labels, case.grid.affine), dtype=np.uint8)
        for target, overlap in overlaps(read_reference(files, case), predicted).items():
            scores.setdefault(target, []).append(overlap.dice)
    return {target: float(np.mean(values)) for target, values in scores.items()}
