"""The training loop, top to bottom."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssa_fast import hardware
from ssa_fast.backends.pytorch import PytorchBackend
from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import CheckpointError, ConfigError, NumericsError
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
from ssa_fast.train.splits import Split
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
    split: Split,
    out: Path,
    on_progress: Callable[[Progress], None],
    start: Checkpoint | None = None,
) -> Path:
    """Train, or go on from `out/last.safetensors` if it is there, and return that checkpoint.

    It holds the last weights, their running average (which validation and export use) and the optimizer, is
    written every `checkpoint_every` steps and when the run is interrupted. Each step draws its
    patches from its own random stream, so a resumed run trains as one that never stopped. A new run begins with
    the averaged weights of `start`, where one is given, else with random ones.

    Raises CaseError for a case that cannot be used, CheckpointError if the checkpoint is of another configuration
    (only `steps` may differ) or `start` is of another network, ConfigError for a precision that the device does
    not have, without cases, or for a held-out case that `start` has seen, NumericsError if the loss diverges.
    """
    if not split.training:
        raise ConfigError("no case is left to train on: give more cases, or another fold")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = _autocast_dtype(config, device)
    layout = torch.contiguous_format
    if device.type == "cpu" or dtype != torch.float32:
        layout = torch.channels_last_3d
    names = [files.name for files in split.training]
    _refuse_a_leak(start, split.held_out)
    run = _begin(config, out / LAST, start, device, layout)
    run.claim(names, out / LAST)
    if run.step >= config.steps:
        return out / LAST
    cases = [load_training_case(files) for files in split.training]
    held_out = [files for files in split.held_out if files.reference is not None]
    losses: list[Tensor] = []
    reported_at, since = run.step, time.perf_counter()
    try:
        while run.step < config.steps:
            patches, labels = _draw_batch(cases, config, run.step)
            patches = patches.to(device, memory_format=layout, non_blocking=True)  # (N, C, X, Y, Z)
            labels = labels.to(device, non_blocking=True)  # (N, X, Y, Z)
            rate = _learning_rate(config, run.step)
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = run.network(patches)  # (N, K, X, Y, Z)
            loss = dice_and_cross_entropy(logits, labels)
            run.optimizer.zero_grad(set_to_none=True)
            run.scaler.scale(loss).backward()
            run.scaler.unscale_(run.optimizer)
            torch.nn.utils.clip_grad_norm_(run.network.parameters(), config.gradient_clip)
            run.scaler.step(run.optimizer)
            run.scaler.update()
            _average(run.averaged, run.network, config.ema_decay, run.step)
            losses.append(loss.detach())
            run.step += 1

            is_last = run.step == config.steps
            is_validation = bool(held_out) and (run.step % config.validate_every == 0 or is_last)
            if run.step % config.report_every == 0 or is_validation or is_last:
                pace = (run.step - reported_at) / (time.perf_counter() - since)  # steps a second
                _check_finite(loss, run.step)
                progress = Progress(
                    step=run.step,
                    steps=config.steps,
                    loss=float(torch.stack(losses).mean()),
                    learning_rate=rate,
                    patches_per_second=pace * config.batch,
                    seconds_left=(config.steps - run.step) / pace,
                    dice=_validate(run.averaged, config, held_out, device) if is_validation else None,
                )
                run.history.append(dataclasses.asdict(progress))
                on_progress(progress)
                losses.clear()
                reported_at, since = run.step, time.perf_counter()
            if run.step % config.checkpoint_every == 0 and run.step < config.steps:
                _check_finite(loss, run.step)
                _save(run, config, out)
    except KeyboardInterrupt:
        _save(run, config, out)  # nothing that was learned is lost
        raise
    _save(run, config, out)
    return out / LAST


@dataclass(kw_only=True)
class _Run:
    """All that changes while a network is trained."""

    network: UNet
    averaged: UNet
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    started_from: str = ""  # fingerprint of the checkpoint that the first weights came from
    earlier_cases: tuple[str, ...] = ()  # that those weights had been trained on
    cases: tuple[str, ...] = ()  # that this run is trained on; empty until it is claimed

    def claim(self, names: Sequence[str], path: Path) -> None:
        """Raises CheckpointError if the run was begun on other cases than `names`: its scores would be leaks."""
        if self.cases and set(self.cases) != set(names):
            raise CheckpointError(
                f"{path}: was trained on {len(self.cases)} other cases than the {len(names)} given: "
                "give the same cases and fold, or another --out"
            )
        self.cases = tuple(names)


def _begin(
    config: TrainConfig, last: Path, start: Checkpoint | None, device: torch.device, layout: torch.memory_format
) -> _Run:
    """A new run, with the weights of `start` if there is one, or the run that `last` holds."""
    torch.manual_seed(config.seed)
    network = UNet(config.network)
    started_from = _load_start(start, network, config) if start is not None else ""
    averaged = UNet(config.network)
    averaged.load_state_dict(network.state_dict())
    for either in (network, averaged):
        either.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    run = _Run(
        network=network,
        averaged=averaged,
        optimizer=torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay),
        scaler=torch.amp.GradScaler(device.type, enabled=_autocast_dtype(config, device) == torch.float16),
        started_from=started_from,
        earlier_cases=tuple(start.spec.trained_on.split()) if start is not None else (),
    )
    if last.exists():
        _resume(last, config, run)
        if start is not None and run.started_from != started_from:
            raise CheckpointError(
                f"{last}: did not begin with the checkpoint given: leave --from out, or another --out"
            )
    return run


def _save(run: _Run, config: TrainConfig, out: Path) -> None:
    names = " ".join(sorted({*run.earlier_cases, *run.cases}))
    spec = ModelSpec(name=config.preset, network=config.network, window=config.patch, trained_on=names)
    facts = {
        "config": to_mapping(config),
        "step": run.step,
        "history": run.history,
        "scaler": run.scaler.state_dict(),
        "started_from": run.started_from,
        "earlier_cases": run.earlier_cases,
        "cases": run.cases,
    }
    save_checkpoint(out / LAST, Checkpoint(spec=spec, tensors=_tensors(run), facts=facts))
    write_json(out / _HISTORY, run.history)


def _check_finite(loss: Tensor, step: int) -> None:
    """Raises NumericsError, before anything is saved, if training has diverged."""
    if not bool(torch.isfinite(loss.detach())):
        raise NumericsError(
            f"the loss is {loss.item()} at step {step}: lower learning_rate; the last checkpoint is kept"
        )


def _refuse_a_leak(start: Checkpoint | None, held_out: Sequence[CaseFiles]) -> None:
    """Raises ConfigError if the weights to begin with were trained on a case that is to be held out now."""
    known = set(start.spec.trained_on.split()) if start is not None else set()
    leaked = sorted(files.name for files in held_out if files.name in known)
    if leaked:
        raise ConfigError(f"--from: its weights were trained on {', '.join(leaked)}, held out now: take another fold")


def _load_start(start: Checkpoint, network: UNet, config: TrainConfig) -> str:
    """Load the averaged weights of another run, and return its fingerprint."""
    if start.spec.network != config.network:
        raise CheckpointError(
            f"checkpoint '{start.spec.name}' holds {start.spec.network}, this run trains {config.network}: "
            "give the same preset and norm"
        )
    network.load_state_dict(network_of(start).state_dict())
    return start.sha256


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


def _tensors(run: _Run) -> dict[str, Tensor]:
    tensors = {f"network.{name}": tensor for name, tensor in run.network.state_dict().items()}
    tensors |= {f"averaged.{name}": tensor for name, tensor in run.averaged.state_dict().items()}
    for place, values in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{key}": tensor for key, tensor in values.items()}
    return tensors


def _resume(path: Path, config: TrainConfig, run: _Run) -> None:
    """Put the run back to where its checkpoint was written."""
    checkpoint = load_checkpoint(path)
    saved = from_mapping(TrainConfig, checkpoint.facts["config"], where=str(path))
    if dataclasses.replace(saved, steps=config.steps) != config:
        wanted = to_mapping(config)
        changed = [key for key, value in to_mapping(saved).items() if value != wanted[key] and key != "steps"]
        raise CheckpointError(
            f"{path}: was trained with another {', '.join(changed)}: give the same configuration, or another --out"
        )
    run.network.load_state_dict(network_of(checkpoint, "network").state_dict())
    run.averaged.load_state_dict(network_of(checkpoint).state_dict())
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.tensors.items():
        if name.startswith("optimizer."):
            _, place, key = name.split(".")
            state.setdefault(int(place), {})[key] = tensor
    run.optimizer.load_state_dict({"state": state, "param_groups": run.optimizer.state_dict()["param_groups"]})
    run.scaler.load_state_dict(checkpoint.facts["scaler"])
    run.step, run.history = checkpoint.facts["step"], checkpoint.facts["history"]
    run.started_from = checkpoint.facts["started_from"]
    run.earlier_cases, run.cases = tuple(checkpoint.facts["earlier_cases"]), tuple(checkpoint.facts["cases"])
