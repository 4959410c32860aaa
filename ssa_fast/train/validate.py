"""Scores of held-out cases while a network is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from ssa_fast.backends.pytorch import PytorchBackend
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.labels import BACKGROUND, MODALITIES
from ssa_fast.metrics.overlap import TARGETS, confusion, overlap_of
from ssa_fast.model.spec import ModelSpec
from ssa_fast.train.dataset import TrainingCase, draw_patch, load_training_case
from ssa_fast.train.losses import segmentation_loss
from ssa_fast.train.overlay import OVERLAY_MODALITY, RgbArray, overlay
from ssa_fast.train.placement import Placement
from ssa_fast.train.progress import NOTICES
from ssa_fast.train.records import HeldOutScores
from ssa_fast.train.state import Run
from ssa_fast.volume.case import CaseFiles, read_case, read_reference
from ssa_fast.volume.geometry import to_ras
from ssa_fast.volume.preprocess import crop_to_brain

__all__ = ["CaseScorer", "PatchScorer", "open_scorer"]

_SHOWN = MODALITIES.index(OVERLAY_MODALITY)
_SCORED: Mapping[str, tuple[int, ...]] = {"background": (BACKGROUND,), **TARGETS}


def open_scorer(run: Run, held_out: Sequence[CaseFiles], placement: Placement) -> CaseScorer | PatchScorer | None:
    """What scores the run's averaged weights, by whole cases or by patches as its configuration says.

    Every held-out case is read, so that a bad one is known before training and not hours later. Without any, None.

    Raises CaseError for images or a reference that cannot be used or are not there, BudgetError for a brain that does
    not fit the memory in one pass.
    """
    if not held_out:
        return None
    kind = CaseScorer if run.config.held_out == "cases" else PatchScorer
    return kind(run, held_out, placement)


class CaseScorer:
    """Scores whole cases, segmented in float32 as they will be in use: the mean over cases."""

    def __init__(self, run: Run, held_out: Sequence[CaseFiles], placement: Placement) -> None:
        spec = ModelSpec(name=run.config.preset, network=run.config.network, window=run.config.patch)
        self._segmenter = Segmenter(PytorchBackend(run.averaged, spec, placement.device, "float32"))
        self._held_out = held_out
        self.overlay: RgbArray | None = None  # of the first case, as it was last segmented
        for files in held_out:
            case = read_case(files)
            read_reference(files, case)
            self._segmenter.plan(crop_to_brain(case))

    def score(self) -> HeldOutScores:
        """The scores of the weights as they are now. Raises what `open_scorer` does, and NumericsError for NaN."""
        scores: dict[str, HeldOutScores] = {}
        for place, files in enumerate(self._held_out, start=1):
            NOTICES.info("validating %d/%d %s", place, len(self._held_out), files.name)
            case = read_case(files)
            labels = np.asarray(to_ras(self._segmenter.segment(case).labels, case.grid.affine), dtype=np.uint8)
            reference = read_reference(files, case)
            if not scores:
                shown = case.volumes[_SHOWN]
                self.overlay = overlay(to_ras(shown.array, shown.affine), reference, labels)
            scores[files.name] = _scores(confusion(reference, labels))
        return HeldOutScores(
            dice=_mean(one.dice for one in scores.values()),
            precision=_mean(one.precision for one in scores.values()),
            recall=_mean(one.recall for one in scores.values()),
            cases={name: one.dice for name, one in scores.items()},
        )


class PatchScorer:
    """Scores the same few patches each time, not augmented: over all their voxels together."""

    def __init__(self, run: Run, held_out: Sequence[CaseFiles], placement: Placement) -> None:
        self._run, self._placement = run, placement
        self._cases: list[TrainingCase] = [load_training_case(files) for files in held_out]
        self.overlay: RgbArray | None = None  # of the first patch, as it was last segmented
        unturned = dataclasses.replace(run.config.augment, affine=0.0)
        self._config = dataclasses.replace(run.config, augment=unturned)

    @torch.no_grad()
    def score(self) -> HeldOutScores:
        """The scores of the weights as they are now."""
        losses, counts = [], np.zeros((4, 4), dtype=np.int64)
        for place, case in enumerate(self._cases):
            NOTICES.info("validating %d/%d %s", place + 1, len(self._cases), case.name)
            rng = np.random.default_rng([self._config.seed, place])
            for _ in range(self._config.held_out_patches):
                patch = draw_patch([case], self._config, rng)
                labels = self._placement.send(patch.labels[None])
                windows = self._placement.send(patch.array[None], is_image=True)
                with self._placement.autocast():
                    logits = self._run.averaged(windows)  # (1, K, X, Y, Z)
                losses.append(float(segmentation_loss(logits, labels, self._config.loss)))
                predicted = logits.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
                reference = patch.labels.numpy().astype(np.uint8)
                if not counts.any():
                    self.overlay = overlay(patch.array[_SHOWN].numpy(), reference, predicted)
                counts += confusion(reference, predicted)
        return dataclasses.replace(_scores(counts), loss=float(np.mean(losses)))


def _scores(counts: npt.NDArray[np.int64]) -> HeldOutScores:
    found = {name: overlap_of(counts, labels) for name, labels in _SCORED.items()}
    return HeldOutScores(
        dice={name: overlap.dice for name, overlap in found.items()},
        precision={name: overlap.precision for name, overlap in found.items()},
        recall={name: overlap.recall for name, overlap in found.items()},
    )


def _mean(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each target's score."""
    tables = list(tables)
    return {name: float(np.mean([table[name] for table in tables])) for name in _SCORED}
