"""All that changes while a network is trained: begun, saved, and gone on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import CheckpointError, ConfigError, NumericsError
from ssa_fast.files import remove_partials
from ssa_fast.model.checkpoint import Checkpoint, load_checkpoint, network_of, save_checkpoint
from ssa_fast.model.spec import ModelSpec
from ssa_fast.model.unet import UNet
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.placement import Placement
from ssa_fast.train.records import write_stats
from ssa_fast.train.schedule import open_plateau
from ssa_fast.train.splits import Split
from ssa_fast.train.supervision import Supervised, coarse_heads

__all__ = ["BEST", "LAST", "Run", "Sources", "open_run"]

LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Trained networks that a run takes from."""

    start: Checkpoint | None = None  # its averaged weights are the first ones
    teacher: Checkpoint | None = None  # its averaged weights tell what to learn beside the labels


@dataclass(kw_only=True)
class Run:
    """The state of a run, and the folder that it is kept in."""

    config: TrainConfig
    folder: Path
    network: UNet  # with the last weights
    averaged: UNet  # with their running average, in evaluation mode
    supervised: Supervised  # the network with its coarse heads, if it has any: what is trained
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    plateau: ReduceLROnPlateau | None  # the schedule, where it is one that looks at scores
    step: int = 0  # updates made
    losses: list[Tensor] = field(default_factory=list)  # of this epoch's updates
    epochs: list[dict[str, Any]] = field(default_factory=list)  # a line of training_stats.json each
    best: float = -1.0  # highest mean Dice of the regions of held-out cases at an epoch's end
    teacher: UNet | None = None  # that the network learns from, beside the labels
    taught_by: str = ""  # fingerprint of the teacher's file
    taught_on: tuple[str, ...] = ()  # cases that the teacher had been trained on
    started_from: str = ""  # fingerprint of the checkpoint that the first weights came from
    earlier_cases: tuple[str, ...] = ()  # that those weights had been trained on
    cases: tuple[str, ...] = ()  # that this run is trained on; empty until it is claimed
    held_out: tuple[str, ...] = ()  # that its epochs are scored on

    @property
    def path(self) -> Path:
        """Its checkpoint."""
        return self.folder / LAST

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that the optimizer changes, in its order: the network's, then those of the coarse heads."""
        return [*self.network.parameters(), *self.supervised.heads.parameters()]

    @torch.no_grad()
    def teacher_logits(self, windows: Tensor) -> Tensor | None:
        """What the teacher makes of (N, C, X, Y, Z), if there is one: logits (N, K, X, Y, Z)."""
        return None if self.teacher is None else self.teacher(windows)

    def claim(self, split: Split) -> None:
        """Take the cases to train on. Scores of a case that the weights have seen would be no scores.

        Raises CheckpointError if the run was begun on other cases or scored on others, ConfigError if the weights that
        it began with were trained on a case that is held out now.
        """
        names, held_out = {files.name for files in split.training}, {files.name for files in split.held_out}
        if self.cases and set(self.cases) != names:
            differ = ", ".join(sorted(names ^ set(self.cases))[:3])
            raise CheckpointError(
                f"{self.path}: was trained on other cases than those given (see {differ}): "
                "give the same cases and fold, or another --out"
            )
        # a spec joins names by spaces, so a name that holds one is known by its words
        for seen, whose, option in (
            (self.earlier_cases, "the weights that this run begins with were", "--from"),
            (self.taught_on, "the teacher was", "--teacher"),
        ):
            leaked = [files.name for files in split.held_out if set(files.name.split()) <= set(seen)]
            if leaked:
                raise ConfigError(
                    f"{whose} trained on {', '.join(leaked)}, held out now: take another fold, or another {option}"
                )
        if self.epochs and set(self.held_out) != held_out:
            raise CheckpointError(
                f"{self.path}: its epochs were scored on {', '.join(self.held_out) or 'no cases'}, not on "
                f"{', '.join(sorted(held_out)) or 'none'}: hold out the same, or give another --out"
            )
        self.cases, self.held_out = tuple(sorted(names)), tuple(sorted(held_out))

    def save(self, *, is_best: bool = False) -> None:
        """Write the checkpoint, for people the epochs beside it, and if it `is_best` the best checkpoint too.

        Raises NumericsError, and writes nothing, if a weight is NaN or infinite.
        """
        for name, tensor in self.network.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                kept = "the last checkpoint is kept" if self.path.exists() else "nothing is written"
                raise NumericsError(f"{name} holds NaN or infinity at step {self.step}: lower learning_rate; {kept}")
        names = " ".join(sorted({*self.earlier_cases, *self.taught_on, *self.cases}))
        config = self.config
        spec = ModelSpec(name=config.preset, network=config.network, window=config.patch, trained_on=names)
        facts = _Facts(
            config=config,
            step=self.step,
            losses=tuple(torch.stack(self.losses).tolist()) if self.losses else (),
            epochs=tuple(self.epochs),
            best=self.best,
            plateau=self.plateau.state_dict() if self.plateau else {},
            scaler=self.scaler.state_dict(),
            taught_by=self.taught_by,
            started_from=self.started_from,
            earlier_cases=self.earlier_cases,
            cases=self.cases,
            held_out=self.held_out,
        )
        checkpoint = Checkpoint(spec=spec, tensors=self._tensors(), facts=to_mapping(facts))
        if is_best:  # before the last one: if the disk is full then, both are still of one earlier moment
            save_checkpoint(self.folder / BEST, checkpoint)
        save_checkpoint(self.path, checkpoint)
        write_stats(self.folder, self.epochs)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"averaged.{name}": tensor for name, tensor in self.averaged.state_dict().items()}
        tensors |= {f"heads.{name}": tensor for name, tensor in self.supervised.heads.state_dict().items()}
        for place, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{key}": tensor for key, tensor in values.items()}
        return tensors


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What a checkpoint says of its run, beside the tensors."""

    config: TrainConfig
    step: int
    losses: tuple[float, ...]
    epochs: tuple[Mapping[str, Any], ...]
    best: float
    plateau: Mapping[str, Any]  # state of the schedule; empty but for `plateau`
    scaler: Mapping[str, Any]  # of the loss; empty but where fp16 needs it
    taught_by: str
    started_from: str
    earlier_cases: tuple[str, ...]
    cases: tuple[str, ...]
    held_out: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.step < 0:
            raise ConfigError(f"'step' must be 0 or more, got {self.step}")


def open_run(config: TrainConfig, folder: Path, sources: Sources, placement: Placement) -> Run:
    """The run that `folder` holds, or else a new one, with the averaged weights of `sources.start` if there is one.

    Raises CheckpointError if the run in `folder` has another configuration (only `steps` may differ), did not begin
    with `start` or learned from another teacher, or if `start` is of another network, and ConfigError for a patch that
    is too small for the network, or for a teacher without `loss.distillation` or the reverse.
    """
    if all(edge == config.network.divisor for edge in config.patch):
        raise ConfigError(
            f"a patch of {config.patch} leaves one voxel at the deepest level of '{config.preset}', which cannot be "
            "normalized: take a longer edge"
        )
    start, teacher = sources.start, sources.teacher
    torch.manual_seed(config.seed)
    network, averaged = UNet(config.network), UNet(config.network).eval()
    network.recomputed_levels = config.recomputed_levels
    if start is not None:
        _load_start(start, network, config)
    averaged.load_state_dict(network.state_dict())
    supervised = Supervised(network, coarse_heads(network, config.supervised_levels))
    placement.put(supervised)
    placement.put(averaged)
    optimizer = _optimizer(config, supervised)
    run = Run(
        config=config,
        folder=folder,
        network=network,
        averaged=averaged,
        supervised=supervised,
        optimizer=optimizer,
        plateau=open_plateau(config, optimizer),
        scaler=torch.amp.GradScaler(placement.device.type, enabled=placement.dtype == torch.float16),
        teacher=_open_teacher(teacher, config, placement),
        taught_by=teacher.sha256 if teacher is not None else "",
        taught_on=tuple(teacher.spec.trained_on.split()) if teacher is not None else (),
        started_from=start.sha256 if start is not None else "",
        earlier_cases=tuple(start.spec.trained_on.split()) if start is not None else (),
    )
    if placement.group.is_first:
        remove_partials(folder)
    if run.path.exists():
        _resume(run)
        if start is not None and run.started_from != start.sha256:
            raise CheckpointError(
                f"{run.path}: did not begin with the checkpoint given: leave --from out, or another --out"
            )
    return run


def _open_teacher(teacher: Checkpoint | None, config: TrainConfig, placement: Placement) -> UNet | None:
    if (teacher is None) != (config.loss.distillation == 0):
        raise ConfigError(
            "a teacher and loss.distillation above 0 belong together: give both, --teacher FILE and the weight in a "
            "recipe of your own, or neither"
        )
    if teacher is None:
        return None
    ours, theirs = config.network, teacher.spec.network
    if (theirs.modalities, theirs.classes) != (ours.modalities, ours.classes):
        raise CheckpointError(
            f"{teacher.where}: a teacher of {theirs.modalities} modalities and {theirs.classes} labels, this run has "
            f"{ours.modalities} and {ours.classes}: take a teacher for the same task"
        )
    if any(edge % theirs.divisor for edge in config.patch):
        raise ConfigError(f"{teacher.where}: needs patch edges in multiples of {theirs.divisor}, got {config.patch}")
    network = network_of(teacher).requires_grad_(False)
    placement.put(network)
    return network


def _optimizer(config: TrainConfig, network: Supervised) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)


def _load_start(start: Checkpoint, network: UNet, config: TrainConfig) -> None:
    _refuse_another_network(start, config)
    network.load_state_dict(network_of(start).state_dict())


def _refuse_another_network(checkpoint: Checkpoint, config: TrainConfig) -> None:
    if checkpoint.spec.network != config.network:
        theirs, ours = checkpoint.spec.network, config.network
        raise CheckpointError(
            f"{checkpoint.where}: holds '{checkpoint.spec.name}' ({theirs.channels}, {theirs.norm} norm), this run "
            f"trains '{config.preset}' ({ours.channels}, {ours.norm} norm): give the same preset and norm"
        )


def _resume(run: Run) -> None:
    """Put the run back to where its checkpoint was written.

    Raises CheckpointError if that is damaged, of another version of ssa-fast, or of another configuration.
    """
    checkpoint = load_checkpoint(run.path)
    facts = _facts_of(checkpoint)
    if dataclasses.replace(facts.config, steps=run.config.steps) != run.config:
        saved, wanted = to_mapping(facts.config), to_mapping(run.config)
        changed = [key for key, value in saved.items() if value != wanted[key] and key != "steps"]
        raise CheckpointError(
            f"{run.path}: was trained with another {', '.join(changed)}: give the same configuration, or another --out"
        )
    _refuse_another_network(checkpoint, run.config)
    run.network.load_state_dict(network_of(checkpoint, "network").state_dict())
    run.averaged.load_state_dict(network_of(checkpoint).state_dict())
    _restore_heads(run, checkpoint)
    _restore_optimizer(run, checkpoint, may_be_empty=facts.step == 0 or bool(facts.scaler))
    _restore_scaler(run, facts.scaler)
    _restore_plateau(run, facts.plateau)
    run.step, run.epochs, run.best = facts.step, [dict(epoch) for epoch in facts.epochs], facts.best
    device = next(run.network.parameters()).device
    run.losses = [torch.tensor(loss, device=device) for loss in facts.losses]
    if facts.taught_by != run.taught_by:
        raise CheckpointError(f"{run.path}: learned from another teacher, or none: give the same, or another --out")
    run.started_from, run.earlier_cases, run.cases = facts.started_from, facts.earlier_cases, facts.cases
    run.held_out = facts.held_out


def _facts_of(checkpoint: Checkpoint) -> _Facts:
    names = [known.name for known in dataclasses.fields(_Facts)]
    missing = [name for name in names if name not in checkpoint.facts]
    advice = f"give another --out, and --from {checkpoint.where} to begin with its weights"
    if missing:
        raise CheckpointError(
            f"{checkpoint.where}: tells no {', '.join(missing)}, so its run cannot be gone on with: {advice}"
        )
    try:
        return from_mapping(_Facts, {name: checkpoint.facts[name] for name in names}, where=checkpoint.where)
    except ConfigError as error:
        raise CheckpointError(f"{error}, so its run cannot be gone on with: {advice}") from error


def _restore_heads(run: Run, checkpoint: Checkpoint) -> None:
    prefix = "heads."
    saved = {name.removeprefix(prefix): value for name, value in checkpoint.tensors.items() if name.startswith(prefix)}
    try:
        run.supervised.heads.load_state_dict(saved)
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint.where}: damaged: its coarse heads do not fit ({str(error).splitlines()[-1].strip()}): "
            f"give another --out, and --from {checkpoint.where} to begin with its weights"
        ) from error


def _restore_optimizer(run: Run, checkpoint: Checkpoint, *, may_be_empty: bool) -> None:
    """`may_be_empty`: there may have been no update yet; under fp16 steps are passed over until the scale fits."""
    saved = {name: tensor for name, tensor in checkpoint.tensors.items() if name.startswith("optimizer.")}
    if not saved and may_be_empty:
        return
    state: dict[int, dict[str, Tensor]] = {}
    for place, parameter in enumerate(run.parameters):
        for key, shape in (("step", ()), ("exp_avg", parameter.shape), ("exp_avg_sq", parameter.shape)):
            tensor = saved.get(f"optimizer.{place}.{key}")
            if tensor is None or tensor.shape != shape:
                found = "is not there" if tensor is None else f"has shape {tuple(tensor.shape)}"
                raise CheckpointError(
                    f"{checkpoint.where}: damaged: optimizer.{place}.{key} {found}, wanted {tuple(shape)}: "
                    f"give another --out, and --from {checkpoint.where} to begin with its weights"
                )
            # as the parameter lies in memory: the same arithmetic, in the same order, as without a break
            values = tensor if key == "step" else torch.empty_like(parameter, requires_grad=False).copy_(tensor)
            state.setdefault(place, {})[key] = values
    run.optimizer.load_state_dict({"state": state, "param_groups": run.optimizer.state_dict()["param_groups"]})


def _restore_scaler(run: Run, saved: Mapping[str, Any]) -> None:
    """A run that comes from a device or precision without a scaler begins with the first scale, and the reverse."""
    if not saved or not run.scaler.is_enabled():
        return
    for name in run.scaler.state_dict():
        if not isinstance(saved.get(name), (int, float)):
            raise CheckpointError(
                f"{run.path}: damaged: the scaler's {name} is {saved.get(name)!r}, wanted a number: "
                f"give another --out, and --from {run.path} to begin with its weights"
            )
    run.scaler.load_state_dict(dict(saved))


def _restore_plateau(run: Run, saved: Mapping[str, Any]) -> None:
    if run.plateau is None:
        return
    rates = saved.get("_last_lr")
    if saved.keys() != run.plateau.state_dict().keys() or not isinstance(rates, list) or len(rates) != 1:
        raise CheckpointError(
            f"{run.path}: damaged: the plateau schedule's state is {dict(saved)}: "
            f"give another --out, and --from {run.path} to begin with its weights"
        )
    run.plateau.load_state_dict(dict(saved))
    for group, rate in zip(run.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
