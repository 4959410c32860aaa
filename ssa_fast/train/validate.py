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
from ssa_fast.volume.case import CaseFiles, read_case
from ssa_fast.volume.nifti import read_labels

__all__ = ["mean_dice", "open_segmenter"]


def open_segmenter(run: Run, placement: Placement) -> Segmenter:
    """A segmenter with the averaged weights of a run, in float32; it follows them as they change."""
    spec = ModelSpec(name=run.config.preset, network=run.config.network, window=run.config.patch)
    return Segmenter(PytorchBackend(run.averaged, spec, placement.device, "float32"))


def mean_dice(segmenter: Segmenter, held_out: Sequence[CaseFiles]) -> dict[str, float]:
    """Mean Dice of each target over whole cases, segmented as they will be in use."""
    scores: dict[str, list[float]] = {}
    for files in held_out:
        result = segmenter.segment(read_case(files))
        reference = np.asarray(read_labels(files.one("seg")).array, dtype=np.uint8)
        for target, overlap in overlaps(reference, result.labels).items():
            scores.setdefault(target, []).append(overlap.dice)
    return {target: float(np.mean(values)) for target, values in scores.items()}
