"""A run, begun or gone on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ssa_fast.errors import CheckpointError, ConfigError
from ssa_fast.files import remove_partials
from ssa_fast.model.checkpoint import Checkpoint, network_of
from ssa_fast.model.spec import ModelSpec, UNetConfig
from ssa_fast.model.unet import UNet
from ssa_fast.prepare.prepared import PreparedCase
from ssa_fast.train.cases import CaseStore
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.placement import Placement
from ssa_fast.train.resume import refuse_another_network, resume
from ssa_fast.train.schedule import open_plateau
from ssa_fast.train.splits import Split
from ssa_fast.train.state import Run, refuse_leaks
from ssa_fast.train.supervision import Supervised, coarse_heads

__all__ = ["Sources", "check_run", "open_run"]

_NO_CASES = Split(training=())


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Trained networks that a run takes from, and the cases that it shares with other runs."""

    start: Checkpoint | None = None  # its averaged weights are the first ones
    teachers: Sequence[Checkpoint] = ()  # their averaged weights tell, as a mean, what to learn beside the labels
    store: CaseStore | None = None  # of cases that runs after this one take too, if there are any

    @property
    def teacher_networks(self) -> list[UNetConfig]:
        """The shape of each teacher."""
        return [teacher.spec.network for teacher in self.teachers]

    @property
    def earlier_cases(self) -> tuple[str, ...]:
        """What the first weights had been trained on."""
        return () if self.start is None else self.start.spec.trained_cases

    @property
    def taught_on(self) -> tuple[str, ...]:
        """What the teachers had been trained on."""
        return tuple(dict.fromkeys(name for teacher in self.teachers for name in teacher.spec.trained_cases))

    @property
    def taught_by(self) -> str:
        """The fingerprints of the teachers' files, whatever their order."""
        return " ".join(sorted(teacher.sha256 for teacher in self.teachers))

    def fitted(self, config: TrainConfig) -> TrainConfig:
        """The configuration that goes on with `start`.

        In a bundle the last block's batch norm is in its convolution: it is trained on without one. It is `config`
        itself where that asks for a norm of that block, or nothing of the kind differs.
        """
        if self.start is None or config.architecture is not None or config.full_norm != "preset":
            return config
        ours = config.network
        if ours.full_norm != "ghost-batch" or self.start.spec.network != dataclasses.replace(ours, full_norm="none"):
            return config
        return dataclasses.replace(config, full_norm="none")

    def check(self, config: TrainConfig, split: Split = _NO_CASES) -> None:
        """Raise what `open_run` would of these networks, and ConfigError for one that has seen a held-out case."""
        refuse_leaks(split, self.earlier_cases, self.taught_on)
        if self.start is not None:
            refuse_another_network(self.start, config)
        if bool(self.teachers) != bool(config.loss.distillation):
            raise ConfigError(
                "a teacher and loss.distillation above 0 belong together: give both, --teacher FILE and the weight in "
                "a recipe of your own, or neither"
            )
        if len(self.teachers) > len({teacher.sha256 for teacher in self.teachers}):
            raise ConfigError("a teacher is named twice: it would count double: name each once")
        for teacher in self.teachers:
            _refuse_another_task(teacher, config)


def check_run(config: TrainConfig, split: Split, sources: Sources) -> None:
    """Raise what `train` would that can be known before anything is read, measured or made.

    That is ConfigError and CheckpointError as `Sources.check` does, ConfigError without cases or for a patch that is
    too small for the network, CaseError for a case without a reference.
    """
    if not split.training:
        raise ConfigError("no case is left to train on: give more cases, or another fold")
    _refuse_small_patch(config)
    sources.check(config, split)
    read = [files for files in split.training if not isinstance(files, PreparedCase)]  # those are mapped, without it
    for files in (*read, *split.held_out):
        files.one("seg")


def open_run(config: TrainConfig, folder: Path, sources: Sources, placement: Placement) -> Run:
    """The run that `folder` holds, or else a new one, with the averaged weights of `sources.start` if there is one.

    Raises CheckpointError if the run in `folder` has another configuration (only `steps` may differ), did not begin
    with `start` or learned from other teachers, or if `start` is of another network, and ConfigError for a patch that
    is too small for the network, or for a teacher without `loss.distillation` or the reverse.
    """
    _refuse_small_patch(config)
    start = sources.start
    sources.check(config)
    torch.manual_seed(config.seed)
    network, averaged = UNet(config.network), UNet(config.network).eval()
    network.recomputed_levels = config.recomputed_levels
    if start is not None:
        network.load_state_dict(network_of(start).state_dict())
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
        teachers=[_open_teacher(teacher, placement) for teacher in sources.teachers],
        taught_by=sources.taught_by,
        taught_on=sources.taught_on,
        started_from=start.sha256 if start is not None else "",
        earlier_cases=sources.earlier_cases,
    )
    if placement.group.is_first:
        remove_partials(folder)
    if run.path.exists():
        resume(run)
        if start is not None and run.started_from != start.sha256:
            raise CheckpointError(
                f"{run.path}: did not begin with the checkpoint given: leave --from out, or another --out"
            )
    return run


def _refuse_small_patch(config: TrainConfig) -> None:
    if all(edge == config.network.divisor for edge in config.patch):
        raise ConfigError(
            f"a patch of {config.patch} leaves one voxel at the deepest level of '{config.preset}', which cannot be "
            "normalized: take a longer edge"
        )


def _refuse_another_task(teacher: Checkpoint, config: TrainConfig) -> None:
    ours, theirs = ModelSpec(name="", network=config.network, window=config.patch), teacher.spec
    for told, wanted in (
        (theirs.modalities, ours.modalities),
        (theirs.labels, ours.labels),
        (theirs.preprocessing, ours.preprocessing),
    ):
        if told != wanted:
            raise CheckpointError(
                f"{teacher.where}: a teacher for {told}, this run is for {wanted}: take one for the same task"
            )
    if any(edge % theirs.divisor for edge in config.patch):
        raise ConfigError(f"{teacher.where}: needs patch edges in multiples of {theirs.divisor}, got {config.patch}")


def _open_teacher(teacher: Checkpoint, placement: Placement) -> UNet:
    network = network_of(teacher).requires_grad_(False)
    placement.put(network)
    return network


def _optimizer(config: TrainConfig, network: Supervised) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
