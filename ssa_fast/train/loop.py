"""The training loop, top to bottom."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssa_fast.config import to_mapping
from ssa_fast.errors import CheckpointError, NumericsError
from ssa_fast.labels import REGIONS
from ssa_fast.model.unet import UNet
from ssa_fast.train.augment import augment
from ssa_fast.train.cases import CaseStore
from ssa_fast.train.compiled import compile_for_training
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.dataset import Patch, TrainingCase, draw_patch
from ssa_fast.train.group import Group, join_group
from ssa_fast.train.losses import distillation_loss
from ssa_fast.train.meter import Meter
from ssa_fast.train.placement import Placement, as_begun, choose_placement
from ssa_fast.train.prefetch import prefetched
from ssa_fast.train.progress import NOTICES, Outcome, Progress
from ssa_fast.train.records import BAD_BATCH, Epoch, finite_mean, peak_bytes, write_bad_batch, write_info
from ssa_fast.train.run import Sources, check_run, open_run
from ssa_fast.train.schedule import cosine_rate
from ssa_fast.train.splits import Split
from ssa_fast.train.state import LAST, Run
from ssa_fast.train.statistics import agree_on_statistics, reestimate
from ssa_fast.train.supervision import supervised_loss
from ssa_fast.train.validate import CaseScorer, PatchScorer, open_scorer

__all__ = ["train", "update"]

_Batch: TypeAlias = tuple[Tensor, Tensor]  # patches (N, C, X, Y, Z) and labels (N, X, Y, Z)
_NONE = Sources()
_AUGMENT = 1  # the random stream of a step's augmentation, apart from that of its patches


def _never() -> bool:
    return False


def train(
    config: TrainConfig,
    split: Split,
    out: Path,
    on_progress: Callable[[Progress], None],
    sources: Sources = _NONE,
    is_stopped: Callable[[], bool] = _never,
) -> Outcome:
    """Train, or go on from `out/last.safetensors` if it is there.

    That checkpoint holds the last weights, their running average (which validation and export use) and the optimizer.
    It is written every `checkpoint_every` steps, after each epoch, and when `is_stopped`, which is asked after each
    whole step, says so; `out/best.safetensors` is its copy at the epoch that did best on the held-out cases, so its
    scores there are those of the best of many, no estimate. An exception, KeyboardInterrupt too, may fall into the
    middle of a step: it saves nothing. Each step draws its patches from its own random stream, so a resumed run trains
    as one that never stopped. A new run begins with the averaged weights of `sources.start`, else with random ones,
    and learns from `sources.teachers` too if there is one.

    Raises CaseError for a case that cannot be used, held out or not, before the first step; CheckpointError if the
    checkpoint is of another configuration (only `steps` may differ) or a source does not fit it; ConfigError for
    a precision that the device does not have, without cases, or for a held-out case that the weights have seen;
    NumericsError if the loss diverges.
    """
    config = sources.fitted(config)
    check_run(config, split, sources)
    group = join_group()
    config = as_begun(config, out / LAST)
    placement = choose_placement(config, group)
    run = open_run(config, out, sources, placement)
    if group.any(run.step != int(group.agree(run.step))):
        raise CheckpointError(f"{run.path}: processes find it at different steps: --out must be one folder for all")
    run.claim(split)
    began_at = run.step
    if began_at < config.steps or run.losses:
        scorer = open_scorer(run, split.held_out, placement) if group.is_first else None
        store = sources.store or CaseStore()
        cases = [store.case(files) for files in split.training] + store.phantoms(config.seed, config.phantoms)
        if group.is_first:  # a folder that cannot be made is known now, not at the first checkpoint
            write_info(out, config, placement)
        with closing(Meter(config, placement)) as meter:
            watch = _Watch(run=run, cases=cases, placement=placement, scorer=scorer, meter=meter)
            _train(watch, on_progress, is_stopped)
    return Outcome(checkpoint=run.path, began_at=began_at, step=run.step, steps=config.steps, epochs=tuple(run.epochs))


def _train(watch: _Watch, on_progress: Callable[[Progress], None], is_stopped: Callable[[], bool]) -> None:
    run, config, placement = watch.run, watch.run.config, watch.placement
    if run.losses and _is_due(run, config.epoch_steps):  # the run was killed while the epoch was scored
        _tell_late(watch.end_epoch())
    network = placement.shared(compile_for_training(run.supervised, config, placement))
    watch.begin()
    draw = functools.partial(_draw_batches, watch.cases, config, placement.group)
    with closing(prefetched(draw, run.step, config.steps, placement.prefetch_threads)) as steps:
        for batches in steps:
            if placement.group.any(is_stopped()):
                break
            run.losses.append(update(run, network, batches, placement))
            is_epoch = _is_due(run, config.epoch_steps)
            if is_epoch or _is_due(run, config.report_every):
                progress = watch.report(is_epoch=is_epoch)
                if placement.group.is_first:
                    on_progress(progress)
            if run.step % config.checkpoint_every == 0 and not is_epoch:
                watch.save()
    if run.losses or not run.path.exists():  # else the epoch's end has saved it
        watch.save()


def _tell_late(epoch: Epoch) -> None:
    """No report tells of this one."""
    if epoch.held_out is not None:
        dice = "  ".join(f"{region} {epoch.held_out.dice[region]:.3f}" for region in REGIONS)
        NOTICES.warning("epoch %d is scored only now, the run was stopped while it was: Dice %s", epoch.epoch, dice)


def update(run: Run, network: nn.Module, batches: Sequence[_Batch], placement: Placement) -> Tensor:
    """One update of the weights, by way of `network`, and of their average; returns the loss, on the device.

    `network` is `run.supervised`, or what wraps it.
    """
    config = run.config
    if run.plateau is None:
        for parameters in run.optimizer.param_groups:
            parameters["lr"] = cosine_rate(config, run.step)
    run.optimizer.zero_grad(set_to_none=True)
    losses = []
    for place, (patches, labels) in enumerate(batches, start=1):
        windows = placement.send(patches, is_image=True)
        with _gradients_stay(network, here=place < len(batches)):
            with placement.autocast():
                wanted = run.teacher_logits(windows)  # first: what the network keeps for its gradient is not there yet
                logits = network(windows)  # (N, K, X, Y, Z) of each supervised scale
            loss = supervised_loss(logits, placement.send(labels), config.loss)
            if wanted is not None:
                loss = loss + config.loss.distillation * distillation_loss(logits[0], wanted, config.loss.temperature)
            run.scaler.scale(loss / config.accumulate).backward()
        losses.append(loss.detach())
    run.scaler.unscale_(run.optimizer)
    run.gradient_norms.append(torch.nn.utils.clip_grad_norm_(run.parameters, config.gradient_clip).detach())
    run.scaler.step(run.optimizer)
    run.scaler.update()
    agree_on_statistics(run.network, placement.group)
    _average(run.averaged, run.network, config.ema_decay, run.step)
    run.step += 1
    return placement.group.mean(torch.stack(losses).mean())


def _gradients_stay(network: nn.Module, *, here: bool) -> AbstractContextManager[object]:
    """While gradients are added up, processes need not exchange them."""
    return network.no_sync() if here and isinstance(network, DistributedDataParallel) else nullcontext()


def _draw_batches(cases: Sequence[TrainingCase], config: TrainConfig, group: Group, step: int) -> list[_Batch]:
    """This process's batches of one step, the same whenever that step is run."""
    places = range(group.rank, group.size * config.batch * config.accumulate, group.size)
    changed = []
    for place, patch in zip(places, _draw_patches(cases, config, step, places), strict=True):
        rng = np.random.default_rng([config.seed, step, place, _AUGMENT])
        changed.append(augment(patch.array, patch.labels, config.augment, rng))
    batches = [changed[first : first + config.batch] for first in range(0, len(changed), config.batch)]
    return [
        (torch.stack([array for array, _ in batch]), torch.stack([labels for _, labels in batch])) for batch in batches
    ]


def _draw_patches(cases: Sequence[TrainingCase], config: TrainConfig, step: int, places: Iterable[int]) -> list[Patch]:
    """The patches of one step that stand at `places` among those of all processes, before augmentation."""
    return [draw_patch(cases, config, np.random.default_rng([config.seed, step, place])) for place in places]


@torch.no_grad()
def _average(averaged: UNet, network: UNet, decay: float, step: int) -> None:
    """Exponential moving average of all weights and statistics; its memory grows with the first steps."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, share)
        else:
            slow.copy_(fast)  # batch norm's counter


def _is_due(run: Run, every: int) -> bool:
    return run.step % every == 0 or run.step == run.config.steps


@dataclass(kw_only=True)
class _Watch:
    """Sees to a run between its steps: reports, scores, saves, and raises the alarm."""

    run: Run
    cases: Sequence[TrainingCase]
    placement: Placement
    scorer: CaseScorer | PatchScorer | None  # in the first process, where cases are held out
    meter: Meter
    reported: int = 0  # losses of this epoch that a report has told of
    epoch_since: float = 0.0  # of `time.perf_counter`, when the epoch was begun, or gone on with

    def __post_init__(self) -> None:
        self.reported = len(self.run.losses)
        self.epoch_since = time.perf_counter()

    def begin(self) -> None:
        """Leave out of the pace what came before the first step, such as compiling."""
        self.meter.restart()
        self.epoch_since = time.perf_counter()

    def report(self, *, is_epoch: bool) -> Progress:
        """Where the run stands; at the end of an epoch, that is scored and saved. Raises NumericsError as `check`."""
        losses = self.check()  # waits for the device: the pace is true only after it
        run, config = self.run, self.run.config
        pace = self.meter.lap(len(losses))
        rate = float(run.optimizer.param_groups[0]["lr"])
        epoch = self.end_epoch() if is_epoch else None
        self.reported = len(run.losses)
        return Progress(
            step=run.step,
            steps=config.steps,
            loss=float(np.mean(losses)),
            learning_rate=rate,
            pace=pace,
            peak_memory_bytes=peak_bytes(self.placement.device),
            seconds_left=(config.steps - run.step) / pace.steps_per_second,
            epoch=epoch,
            overlay=self.scorer.overlay if is_epoch and self.scorer else None,
        )

    def check(self) -> list[float]:
        """The losses that no report has told of. Raises NumericsError, and writes the batch, if one is not finite."""
        run, group = self.run, self.placement.group
        losses: list[float] = torch.stack(run.losses[self.reported :]).tolist() if run.losses[self.reported :] else []
        for place, loss in enumerate(losses):
            if math.isfinite(loss):
                continue
            step = run.step - len(losses) + place  # updates before it
            count = run.config.batch * run.config.accumulate * group.size
            patches = _draw_patches(self.cases, run.config, step, range(count))
            path = write_bad_batch(run.folder, patches) if group.is_first else run.folder / BAD_BATCH
            places = ", ".join(f"{patch.case} around voxel {patch.center}" for patch in patches)
            raise NumericsError(
                f"the loss is {loss} at step {step + 1} ({places}; {path} has the batch): lower learning_rate, with "
                f"another --out, and --from {run.path} if it is there: it is from before"
            )
        return losses

    def save(self) -> None:
        """Save the run, if its losses are finite. Raises NumericsError as `check`."""
        self.check()
        if self.placement.group.is_first:
            self.run.save()

    def end_epoch(self) -> Epoch:
        """The epoch's line: held-out cases are scored, the schedule hears of it, all is saved, before scoring too."""
        self.save()  # what was learned is not lost if scoring fails
        run, group, pace = self.run, self.placement.group, self.meter.end_epoch()
        if run.config.reestimate and group.is_first:
            reestimate(run.averaged, self.cases, self.placement)
        scores = self.scorer.score() if self.scorer else None
        epoch = Epoch(
            epoch=len(run.epochs) + 1,
            step=run.step,
            loss=float(torch.stack(run.losses).mean()),
            learning_rate=float(run.optimizer.param_groups[0]["lr"]),
            seconds=time.perf_counter() - self.epoch_since,
            peak_memory_bytes=peak_bytes(self.placement.device),
            patches_per_second=pace.patches_per_second if pace else None,
            share_of_peak=pace.share_of_peak if pace else None,
            gpu_utilization=pace.gpu_utilization if pace else None,
            gpu_memory_bytes=pace.gpu_memory_bytes if pace else None,
            gradient_norm=finite_mean(run.gradient_norms),
            held_out=scores,
        )
        run.epochs.append(to_mapping(epoch))
        run.losses.clear()
        run.gradient_norms.clear()
        self.reported, self.epoch_since = 0, time.perf_counter()
        if run.plateau is not None:
            loss = epoch.loss if scores is None or scores.loss is None else scores.loss
            run.plateau.step(group.agree(loss))
        is_best = scores is not None and scores.region_dice > run.best
        run.best = scores.region_dice if scores is not None and is_best else run.best
        if group.is_first:
            run.save(is_best=is_best)
        self.meter.restart()
        return epoch
