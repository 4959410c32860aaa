"""All that changes while a network is trained, and how it is saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ssa_fast.config import to_mapping
from ssa_fast.errors import CheckpointError, ConfigError, NumericsError
from ssa_fast.model.checkpoint import Checkpoint, save_checkpoint
from ssa_fast.model.spec import ModelSpec
from ssa_fast.model.unet import UNet
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.losses import mean_answer
from ssa_fast.train.records import write_stats
from ssa_fast.train.splits import Split
from ssa_fast.train.supervision import Supervised
from ssa_fast.volume.phantom import phantom_name

__all__ = ["BEST", "LAST", "Facts", "Run", "refuse_leaks"]

LAST, BEST = "last.safetensors", "best.safetensors"


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
    gradient_norms: list[Tensor] = field(default_factory=list)  # of the same updates, before clipping
    epochs: list[dict[str, Any]] = field(default_factory=list)  # a line of training_stats.json each
    best: float = -1.0  # highest mean Dice of the regions of held-out cases at an epoch's end
    teachers: Sequence[UNet] = ()  # that the network learns from, beside the labels
    taught_by: str = ""  # fingerprints of the teachers' files
    taught_on: tuple[str, ...] = ()  # cases that the teachers had been trained on
    started_from: str = ""  # fingerprint of the checkpoint that the first weights came from
    earlier_cases: tuple[str, ...] = ()  # that those weights had been trained on
    cases: tuple[str, ...] = ()  # that this run is trained on; empty until it is claimed
    held_out: tuple[str, ...] = ()  # that its epochs are scored on

    @property
    def path(self) -> Path:
        """Its checkpoint."""
        return self.folder / LAST

    @property
    def phantoms(self) -> list[str]:
        """Names of the made-up cases that are trained on."""
        return [phantom_name(self.config.seed, index) for index in range(self.config.phantoms)]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that the optimizer changes, in its order: the network's, then those of the coarse heads."""
        return [*self.network.parameters(), *self.supervised.heads.parameters()]

    @torch.no_grad()
    def teacher_logits(self, windows: Tensor) -> Tensor | None:
        """What the teachers make of (N, C, X, Y, Z) as a mean, if there are any: logits (N, K, X, Y, Z)."""
        if not self.teachers:
            return None
        return mean_answer((teacher(windows) for teacher in self.teachers), self.config.loss.temperature)

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
        refuse_leaks(split, self.earlier_cases, self.taught_on)
        _refuse_seen(split, self.phantoms, "this run is", "another seed for its phantoms")
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
        names = " ".join(sorted({*self.earlier_cases, *self.taught_on, *self.cases, *self.phantoms}))
        config = self.config
        spec = ModelSpec(name=config.preset, network=config.network, window=config.patch, trained_on=names)
        facts = Facts(
            config=config,
            step=self.step,
            losses=tuple(torch.stack(self.losses).tolist()) if self.losses else (),
            gradient_norms=tuple(torch.stack(self.gradient_norms).tolist()) if self.gradient_norms else (),
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


def refuse_leaks(split: Split, earlier: Iterable[str], taught: Iterable[str]) -> None:
    """Raise ConfigError if the first weights (`earlier`) or a teacher (`taught`) have seen a held-out case."""
    _refuse_seen(split, earlier, "the weights that this run begins with were", "another --from")
    _refuse_seen(split, taught, "a teacher was", "another --teacher")


def _refuse_seen(split: Split, seen: Iterable[str], whose: str, other: str) -> None:
    """Raise ConfigError if a held-out case is among those `seen`: "`whose` trained on" it.

    A spec joins names by spaces, so a name that holds one is known by its words.
    """
    words = set(seen)
    leaked = [files.name for files in split.held_out if set(files.name.split()) <= words]
    if leaked:
        raise ConfigError(f"{whose} trained on {', '.join(leaked)}, held out now: take another fold, or {other}")


@dataclass(frozen=True, kw_only=True)
class Facts:
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
    gradient_norms: tuple[float, ...] = ()  # earlier checkpoints have none

    def __post_init__(self) -> None:
        if self.step < 0:
            raise ConfigError(f"'step' must be 0 or more, got {self.step}")
