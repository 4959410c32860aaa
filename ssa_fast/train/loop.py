"""The training loop, top to bottom."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssa_fast import hardware
from ssa_fast.backends.pytorch import PytorchBackend
from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import CheckpointError, ConfigError
from ssa_fast.files import write_json
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.metrics.overlap import overlaps
from ssa_fast.model.checkpoint import Checkpoint, load_checkpoint, network_of, save_checkpoint
from ssa_fast.model.spec import ModelSpec
from ssa_fast.model.unet import UNet
from ssa_fast.train.augment import augment
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.dataset import TrainingCase, draw_patch, load_training_case
from ssa_fast.train.losses import dice_and_cross_entropy
from ssa_fast.volume.case import CaseFiles, read_case
from ssa_fast.volume.nifti import read_labels

__all__ = ["LAST", "Progress", "train"]

LAST = "last.safetensors"
_HISTORY = "history.json"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands; one of these every `report_every` steps, and one at each validation."""

    step: int
    steps: int
    loss: float  # mean since the last report
    learning_rate: float
    patches_per_second: float
    seconds_left: float
    dice: Mapping[str, float] | None = None  # mean over the validation cases, at a validation


def train(
    config: TrainConfig,
    training: Sequence[CaseFiles],
    validation: Sequence[CaseFiles],
    out: Path,
    on_progress: Callable[[Progress], None],
) -> Path:
    """Train, or go on from `out/last.safetensors` if it is there, and return that checkpoint.

    It holds the last weights, their running average (which validation and export use) and the optimizer, is
    written every `checkpoint_every` steps and when the run is interrupted. Each step draws its
    patches from its own random stream, so a resumed run trains as one that never stopped.

    Raises CaseError for a case that cannot be used, CheckpointError if the checkpoint is of another configuration
    (only `steps` may differ), ConfigError for a precision that the device does not have or without cases.
    """
    if not training:
        raise ConfigError("no case is left to train on: give more cases, or another fold")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = _autocast_dtype(config, device)
    is_cpu = device.type == "cpu"
    layout = torch.channels_last_3d if is_cpu or dtype != torch.float32 else torch.contiguous_format
    torch.manual_seed(config.seed)
    network = UNet(config.network).to(device=device, memory_format=layout)  # type: ignore[call-overload]
    averaged = UNet(config.network).to(device=device, memory_format=layout)  # type: ignore[call-overload]
    averaged.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    history: list[dict[str, Any]] = []
    step = 0
    if (out / LAST).exists():
        step, history = _resume(out / LAST, config, network, averaged, optimizer, scaler)

    cases = [load_training_case(files) for files in training]
    held_out = [files for files in validation if files.reference is not None]
    names = [case.name for case in cases]

    def save() -> None:
        spec = ModelSpec(name=config.preset, network=config.network, window=config.patch, trained_on=" ".join(names))
        facts = {"config": to_mapping(config), "step": step, "history": history, "scaler": scaler.state_dict()}
        save_checkpoint(out / LAST, Checkpoint(spec=spec, tensors=_tensors(network, averaged, optimizer), facts=facts))
        write_json(out / _HISTORY, history)

    losses: list[Tensor] = []
    reported_at, since = step, time.perf_counter()
    try:
        while step < config.steps:
            patches, labels = _draw_batch(cases, config, step)
            patches = patches.to(device, memory_format=layout, non_blocking=True)  # (N, C, X, Y, Z)
            labels = labels.to(device, non_blocking=True)  # (N, X, Y, Z)
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(config, step)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = network(patches)  # (N, K, X, Y, Z)
            loss = dice_and_cross_entropy(logits, labels)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
            scaler.step(optimizer)
            scaler.update()
            _average(averaged, network, config.ema_decay, step)
            losses.append(loss.detach())
            step += 1

            is_validation = bool(held_out) and (step % config.validate_every == 0 or step == config.steps)
            if step % config.report_every == 0 or is_validation or step == config.steps:
                mean_loss = float(torch.stack(losses).mean())
                pace = (step - reported_at) / (time.perf_counter() - since)  # steps a second
                progress = Progress(
                    step=step,
                    steps=config.steps,
                    loss=mean_loss,
                    learning_rate=_learning_rate(config, step - 1),
                    patches_per_second=pace * config.batch,
                    seconds_left=(config.steps - step) / pace,
                    dice=_validate(averaged, config, held_out, device) if is_validation else None,
                )
                history.append(dataclasses.asdict(progress))
                on_progress(progress)
                losses.clear()
                reported_at, since = step, time.perf_counter()
            if step % config.checkpoint_every == 0:
                save()
    finally:
        save()  # also when interrupted: nothing that was learned is lost
    return out / LAST


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


def _validate(
    averaged: UNet, config: TrainConfig, cases: Sequence[CaseFiles], device: torch.device
) -> dict[str, float]:
    """Mean Dice of each target over whole cases, segmented as they will be in use."""
    averaged.eval()
    spec = ModelSpec(name=config.preset, network=config.network, window=config.patch)
    segmenter = Segmenter(PytorchBackend(averaged, spec, device, "float32"))
    scores: dict[str, list[float]] = {}
    for files in cases:
        result = segmenter.segment(read_case(files))
        reference = np.asarray(read_labels(files.one("seg")).array, dtype=np.uint8)
        for target, overlap in overlaps(reference, result.labels).items():
            scores.setdefault(target, []).append(overlap.dice)
    averaged.train()
    return {target: float(np.mean(values)) for target, values in scores.items()}


def _autocast_dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The precision that is asked for, or the fastest that the device is known to compute rightly."""
    if config.precision == "float32":
        return torch.float32
    if device.type == "cpu":
        if config.precision == "fp16":
            raise ConfigError("precision fp16 needs a CUDA GPU: take bf16 or float32 on a CPU")
        return torch.bfloat16 if config.precision == "bf16" or hardware.cpu().gains_from_bf16 else torch.float32
    name = torch.cuda.get_device_name(device)
    has_bf16 = torch.cuda.get_device_capability(device) >= (8, 0)  # torch claims bf16 below, and emulates it
    if config.precision == "bf16" and not has_bf16:
        raise ConfigError(f"precision bf16 needs compute capability 8.0, {name} has less: take auto or float32")
    if config.precision == "auto" and hardware.has_emulated_tensor_cores(name):
        return torch.float32
    return torch.bfloat16 if has_bf16 and config.precision != "fp16" else torch.float16


def _tensors(network: UNet, averaged: UNet, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for place, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{key}": tensor for key, tensor in values.items()}
    return tensors


def _resume(
    path: Path,
    config: TrainConfig,
    network: UNet,
    averaged: UNet,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> tuple[int, list[dict[str, Any]]]:
    """Load the checkpoint into all four, and return its step and history."""
    checkpoint = load_checkpoint(path)
    saved = from_mapping(TrainConfig, checkpoint.facts["config"], where=str(path))
    if dataclasses.replace(saved, steps=config.steps) != config:
        changed = [
            key for key, value in to_mapping(saved).items() if value != to_mapping(config)[key] and key != "steps"
        ]
        raise CheckpointError(
            f"{path}: was trained with another {', '.join(changed)}: give the same configuration, or another --out"
        )
    network.load_state_dict(network_of(checkpoint, "network").state_dict())
    averaged.load_state_dict(network_of(checkpoint).state_dict())
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.tensors.items():
        if name.startswith("optimizer."):
            _, place, key = name.split(".")
            state.setdefault(int(place), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    scaler.load_state_dict(checkpoint.facts["scaler"])
    return checkpoint.facts["step"], checkpoint.facts["history"]
