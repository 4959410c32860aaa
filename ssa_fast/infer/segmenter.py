"""One case in, its segmentation out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import numpy as np

from ssa_fast.backends.base import Backend
from ssa_fast.errors import ConfigError, SsaFastError
from ssa_fast.hardware import give_heap_back
from ssa_fast.infer.ensemble import Ensemble, mirrored
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.maps import BoxPlace, Maps, VoteArrays
from ssa_fast.infer.plan import Plan, Wish, check_window, plan_case
from ssa_fast.infer.quality import Quality
from ssa_fast.infer.segmentation import Prepared, Segmentation
from ssa_fast.labels import LABEL_NAMES, MODALITIES
from ssa_fast.measure import Stages, resident_bytes
from ssa_fast.model.spec import PREPROCESSING, ModelSpec
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import FloatArray, LabelArray, pad_to, padded_shape
from ssa_fast.volume.postprocess import labels_from_logits, named_postprocessing, postprocess
from ssa_fast.volume.preprocess import Brain, crop_to_brain
from ssa_fast.volume.resample import Resampled
from ssa_fast.volume.windows import blended_slabs, window_boxes

__all__ = ["Segmenter"]

_READING = 0.2  # of a case's images, beside them: the files, and what is checked (measured)
_PREPARING = 0.5  # of a brain, beside it: what its normalization takes (measured)
_log = logging.getLogger(__name__)


class Segmenter:
    """Segments cases with one open backend."""

    def __init__(
        self,
        backend: Backend,
        wish: Wish | None = None,
        pace: float | None = None,
        intake: Intake | None = None,
        quality: Quality | None = None,
    ) -> None:
        """`wish` is what is asked of each plan, `pace` the GFLOP a second that this machine does with this backend.

        `intake` says how cases are checked and resampled; without it they are taken as they are, in voxels of 1 mm.
        `quality` asks for more than one look, or more than labels.
        Raises ConfigError if the network wants cases read, ordered or prepared in another way than they are here, or
        if its labels are others, and for a `quality` or a window that cannot be.
        """
        _check_spec(backend.spec)
        self._quality = quality or Quality()
        self.backend = mirrored(backend, self._quality.mirror, has_doubt=self._quality.uncertainty)
        self._profile = _profile_name(self.backend.spec, self._quality)
        self._postprocessing = named_postprocessing(self._profile)
        self.pace = pace  # follows what is measured
        self._wish = wish or Wish()
        if self._wish.window is not None:  # once, not for every case
            check_window(self._wish.window, self.backend.spec, self.backend.footprint)
        self._intake = intake

    @property
    def resamples(self) -> bool:
        """Whether cases may have voxels other than 1 mm."""
        return self._intake is not None and self._intake.resample == "auto"

    def plan(self, brain: Brain, case_bytes: int = 0) -> Plan:
        """What `segment` will do with a brain, when cases that were read hold `case_bytes` of this process's memory.

        Raises BudgetError if the memory does not do even for small windows, ConfigError for a window that the network
        cannot take.
        """
        footprint = self.backend.footprint
        if self._quality.has_maps:  # they are made of logits, which then come to the host
            footprint = dataclasses.replace(footprint, labels_share=None)
        if footprint.is_host:
            footprint = dataclasses.replace(footprint, held_bytes=footprint.held_bytes + case_bytes)
        wish = dataclasses.replace(self._wish, budget_bytes=self._granted_bytes())
        return plan_case(brain.box.shape, self.backend.spec, wish, footprint, self.pace)

    def plan_prepared(self, prepared: Prepared, other_bytes: int = 0) -> Plan:
        """As `plan`, for a case that `prepare` has seen, while other cases hold `other_bytes`."""
        plan = self.plan(prepared.brain, prepared.nbytes + other_bytes + self.map_bytes(prepared))
        spacing = prepared.resampled.spacing_mm if prepared.resampled else None
        return dataclasses.replace(plan, resampled_from_mm=spacing)

    def map_bytes(self, prepared: Prepared) -> int:
        """Memory that a case's maps take, and writing one of them, as far as maps are asked for."""
        shape = padded_shape(prepared.brain.box.shape, self.backend.spec.divisor)
        return self._quality.map_bytes(shape, prepared.case.grid.array.shape, self.backend.spec.network.classes)

    def is_as_good_beside(self, prepared: Prepared, other_bytes: int) -> bool:
        """Whether other cases can hold `other_bytes` without smaller windows for this one."""
        try:
            beside, alone = (self.plan_prepared(prepared, held) for held in (other_bytes, 0))
        except SsaFastError:  # told when the case is segmented
            return False
        return beside.window == alone.window

    def prepare(self, case: Case) -> Prepared:
        """A case in voxels of 1 mm, cut to its brain, normalized and checked, as far as the intake has it.

        Raises CaseError for a case with nothing to normalize, or of which something is suspected.
        """
        stages = Stages()
        resampled: Resampled | None = None
        overridden: tuple[str, ...] = ()
        with stages.measure("prepare"):
            if self._intake is not None:
                resampled = self._intake.resampled(case)
            brain = crop_to_brain(resampled.case if resampled else case)
            if self._intake is not None:
                overridden = self._intake.checked(case, brain)
        images, others = case.nbytes, resampled.case.nbytes if resampled else 0
        return Prepared(
            case=case.without_voxels(),
            brain=brain,
            seconds=stages.seconds,
            resampled=resampled.without_voxels() if resampled else None,
            overridden=overridden,
            reading_bytes=images + max(int(_READING * images), others + int((1 + _PREPARING) * brain.array.nbytes)),
        )

    def segment(self, case: Case, on_plan: Callable[[Plan], None] | None = None) -> Segmentation:
        """The segmentation of a case; `on_plan` hears of the plan before the network runs.

        Raises CaseError like `prepare`, BudgetError and ConfigError like `plan`, BackendError if
        the engine fails, NumericsError for NaN.
        """
        return self.segment_prepared(self.prepare(case), on_plan, case.nbytes)

    def segment_prepared(
        self, prepared: Prepared, on_plan: Callable[[Plan], None] | None = None, other_bytes: int = 0
    ) -> Segmentation:
        """As `segment`, from a case that `prepare` has seen, while other cases hold `other_bytes`."""
        stages = Stages(dict(prepared.seconds))
        case, brain = prepared.case, prepared.brain
        plan = self.plan_prepared(prepared, other_bytes)
        if on_plan is not None:
            on_plan(plan)
        if plan.lets_go:
            self.backend.let_go()
        with stages.measure("prepare"):
            volume, inner = pad_to(brain.array, plan.shape)  # (C, X, Y, Z)
        emptied = dataclasses.replace(brain, array=np.empty((0, 0, 0, 0), dtype=np.float32))  # it needs no images
        place = BoxPlace(inner=inner, brain=emptied, case=case, resampled=prepared.resampled)
        votes = self._vote_arrays(place, plan)
        if plan.passes == 1:
            labels = self._one_pass(volume, stages, votes)
            ran = 1
        else:
            labels, ran = self._windows(volume, place, plan, stages, votes)
        with stages.measure("labels"):
            labels = postprocess(labels * place.foreground(plan.shape), self._postprocessing)
            doubt = votes.doubts(labels) if votes is not None and self._quality.uncertainty else None
            restored = place.labels(labels)
        self.pace = plan.gflop * ran / plan.passes / stages.seconds["network"]
        self._make_room(prepared.reading_bytes)
        return Segmentation(
            name=case.name,
            labels=restored,
            grid=case.grid,
            plan=plan,
            device=self.backend.device,
            seconds=stages.seconds,
            overridden=prepared.overridden,
            maps=Maps(place=place, votes=votes) if votes is not None else None,
            doubt=doubt,
            quality=self._quality,
            postprocessing=self._profile,
        )

    def _granted_bytes(self) -> int | None:
        """Memory that a plan may take: what is asked for, and no more than there is; None where neither is known."""
        footprint = self.backend.footprint
        if footprint.is_host:
            give_heap_back()  # what a case before left idle would be granted twice: as held, and as free
        free = self.backend.free_bytes()
        budgets = [self._wish.budget_bytes] if self._wish.budget_bytes is not None else []
        if free is not None:
            budgets.append(free + (resident_bytes() if footprint.is_host else footprint.held_bytes))
        granted = min(budgets, default=None)
        _log.debug("memory granted: %s", "not limited" if granted is None else f"{granted / 1e9:.2f} GB")
        return granted

    def _make_room(self, reading_bytes: int) -> None:
        """Have the engine let go of its buffers where the next case could not be read beside them."""
        granted = self._granted_bytes() if self.backend.footprint.is_host else None
        if granted is not None and resident_bytes() + reading_bytes > granted:
            self.backend.let_go()

    def _vote_arrays(self, place: BoxPlace, plan: Plan) -> VoteArrays | None:
        """Where the answer's probabilities are kept, if maps are asked for."""
        if not self._quality.has_maps:
            return None
        votes = plan.votes if self._quality.uncertainty else 1
        return VoteArrays(place.foreground(plan.shape), self.backend.spec.network.classes, votes)

    def _logits(self, windows: FloatArray) -> FloatArray:
        """(N, K, X, Y, Z), and behind them what several votes doubt, where that is asked for."""
        if self._quality.uncertainty and isinstance(self.backend, Ensemble):
            return self.backend.logits_and_doubt(windows)
        return self.backend.logits(windows)

    def _labels(self, first: int, slab: FloatArray, votes: VoteArrays | None) -> LabelArray:
        """Of a slab of `_logits` (K or more, width, Y, Z) that begins at voxel `first` of X, which `votes` keep."""
        if votes is not None:
            votes.take(first, slab)
        return labels_from_logits(slab[: self.backend.spec.network.classes])

    def _one_pass(self, volume: FloatArray, stages: Stages, votes: VoteArrays | None) -> LabelArray:
        if votes is None:
            with stages.measure("network"):
                labels: LabelArray = self.backend.labels(volume[np.newaxis])[0]  # (X, Y, Z)
            return labels
        with stages.measure("network"):
            logits = self._logits(volume[np.newaxis])[0]  # (K, X, Y, Z)
        with stages.measure("labels"):
            return self._labels(0, logits, votes)

    def _windows(
        self, volume: FloatArray, place: BoxPlace, plan: Plan, stages: Stages, votes: VoteArrays | None
    ) -> tuple[LabelArray, int]:
        """The labels (X, Y, Z), and how many windows held brain."""
        ran = 0

        def logits_of(windows: FloatArray) -> FloatArray:
            nonlocal ran
            ran += len(windows)
            with stages.measure("network"):
                return self._logits(windows)

        labels = np.zeros(plan.shape, dtype=np.uint8)
        boxes = window_boxes(plan.shape, plan.window, plan.overlap)
        foreground = place.foreground(plan.shape)
        slabs = blended_slabs(volume, boxes, logits_of, foreground=foreground, batch=plan.batch)
        with stages.measure("labels"):
            for first, slab in slabs:
                labels[first : first + slab.shape[1]] = self._labels(first, slab, votes)
        stages.seconds["labels"] -= stages.seconds["network"]  # which was measured within
        return labels, ran


def _profile_name(spec: ModelSpec, quality: Quality) -> str:
    if quality.postprocess is None and not spec.postprocessing:
        raise ConfigError(f"networks '{spec.name}' name unlike postprocessing: choose one, such as none")
    return quality.postprocess or spec.postprocessing


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
