"""The training loop, top to bottom."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssa_fast.errors import ConfigError, NumericsError
from ssa_fast.model.checkpoint import Checkpoint
from ssa_fast.model.unet import UNet
from ssa_fast.train.augment import augment
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.dataset import TrainingCase, draw_patch, load_training_case
from ssa_fast.train.losses import dice_and_cross_entropy
from ssa_fast.train.placement import Placement, choose_placement
from ssa_fast.train.run import Run, open_run
from ssa_fast.train.splits import Split
from ssa_fast.train.validate import check_held_out, mean_dice, open_segmenter

__all__ = ["Outcome", "Progress", "train"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands; one of these every `report_every` steps, and one at each validation."""

    step: int
    steps: int
    loss: float  # mean since the last report
    learning_rate: float
    patches_per_second: float
    seconds_left: float
    dice: Mapping[str, float] | None = None  # mean over the held-out cases, at a validation


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call of `train` ended."""

    checkpoint: Path
    began_at: int  # steps that were made before the call
    step: int  # that the checkpoint holds; below `steps` if training was stopped
    steps: int  # that were asked for


def _never() -> bool:
    return False


def train(
    config: TrainConfig,
    split: Split,
    out: Path,
    on_progress: Callable[[Progress], None],
    start: Checkpoint | None = None,
    is_stopped: Callable[[], bool] = _never,
) -> Outcome:
    """Train, or go on from `out/last.safetensors` if it is there.

    That checkpoint holds the last weights, their running average (which validation and export use) and the
    optimizer. It is written every `checkpoint_every` steps, at the end, and when `is_stopped`, which is asked after
    each whole step, says so. An exception, KeyboardInterrupt too, may fall into the middle of a step: it saves nothing.
    Each step draws its patches from its own random stream, so a resumed run trains as one that never stopped. A new
    run begins with the averaged weights of `start`, where one is given, else with random ones.

    Raises CaseError for a case that cannot be used, held out or not, before the first step; CheckpointError if the
    checkpoint is of another configuration (only `steps` may differ) or `start` is of another network; ConfigError for
    a precision that the device does not have, without cases, or for a held-out case that the weights have seen;
    NumericsError if the loss diverges.
    """
    if not split.training:
        raise ConfigError("no case is left to train on: give more cases, or another fold")
    placement = choose_placement(config)
    run = open_run(config, out, start, placement)
    run.claim(split)
    began_at = run.step
    if began_at >= config.steps:
        return Outcome(checkpoint=run.path, began_at=began_at, step=run.step, steps=config.steps)
    segmenter = open_segmenter(run, placement)
    check_held_out(segmenter, split.held_out)
    cases = [load_training_case(files) for files in split.training]
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is known now, not at the first checkpoint
    losses: list[Tensor] = []
    since = time.perf_counter()
    while run.step < config.steps and not is_stopped():
        losses.append(_step(run, cases, placement))
        is_validation = bool(split.held_out) and _is_due(run, config.validate_every)
        if is_validation or _is_due(run, config.report_every):
            progress = _progress(run, losses, since)
            if is_validation:
                progress = dataclasses.replace(progress, dice=mean_dice(segmenter, split.held_out))
            run.history.append(dataclasses.asdict(progress))
            on_progress(progress)
            losses.clear()
            since = time.perf_counter()
        if run.step % config.checkpoint_every == 0 and run.step < config.steps:
            run.save()
    run.save()
    return Outcome(checkpoint=run.path, began_at=began_at, step=run.step, steps=config.steps)


def _step(run: Run, cases: Sequence[TrainingCase], placement: Placement) -> Tensor:
    """One update of the weights and of their average; returns the loss, on the device."""
    config = run.config
    patches, labels = _draw_batch(cases, config, run.step)
    patches = patches.to(placement.device, memory_format=placement.layout)  # (N, C, X, Y, Z)
    labels = labels.to(placement.device)  # (N, X, Y, Z)
    for group in run.optimizer.param_groups:
        group["lr"] = _learning_rate(config, run.step)
    with placement.autocast():
        logits = run.network(patches)  # (N, K, X, Y, Z)
    loss = dice_and_cross_entropy(logits, labels)
    run.optimizer.zero_grad(set_to_none=True)
    run.scaler.scale(loss).backward()
    run.scaler.unscale_(run.optimizer)
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), config.gradient_clip)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    _average(run.averaged, run.network, config.ema_decay, run.step)
    run.step += 1
    return loss.detach()


def _draw_batch(cases: Sequence[TrainingCase], config: TrainConfig, step: int) -> tuple[Tensor, Tensor]:
    """The patches (N, C, X, Y, Z) and labels (N, X, Y, Z) of one step, the same whenever that step is run."""
    rng = np.random.default_rng([config.seed, step])
    drawn = [draw_patch(cases, config, rng) for _ in range(config.batch)]
    changed = [augment(patch, labels, config.augment, rng) for patch, labels in drawn]
    return torch.stack([patch for patch, _ in changed]), torch.stack([labels for _, labels in changed])


def _learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


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


def _progress(run: Run, losses: Sequence[Tensor], since: float) -> Progress:
    """Where the run stands after steps of these losses, the first of which began at `since` of `time.perf_counter`.

    Raises NumericsError, before anything is saved, if training has diverged.
    """
    mean = float(torch.stack(list(losses)).mean())  # waits for the device: the pace is true only after it
    if not math.isfinite(mean):
        raise NumericsError(f"the loss is {mean} at step {run.step}: lower learning_rate; the last checkpoint is kept")
    config, pace = run.config, len(losses) / (time.perf_counter() - since)  # steps a second
    return Progress(
        step=run.step,
        steps=config.steps,
        loss=mean,
        learning_rate=_learning_rate(config, run.step - 1),
        patches_per_second=pace * config.batch,
        seconds_left=(config.steps - run.step) / pace,
    )
