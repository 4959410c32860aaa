"""A run put back to where its checkpoint was written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import CheckpointError, ConfigError
from ssa_fast.model.checkpoint import Checkpoint, load_checkpoint, network_of
from ssa_fast.model.spec import PRESETS, UNetConfig
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.state import Facts, Run

__all__ = ["refuse_another_network", "resume"]


def resume(run: Run) -> None:
    """Put the run back to where its checkpoint was written.

    Raises CheckpointError if that is damaged, of another version of ssa-fast, or of another configuration.
    """
    checkpoint = load_checkpoint(run.path)
    facts = _facts_of(checkpoint)
    if dataclasses.replace(facts.config, steps=run.config.steps) != run.config:
        saved, wanted = to_mapping(facts.config), to_mapping(run.config)
        changed = [key for key, value in saved.items() if value != wanted[key] and key != "steps"]
        of_preset = f" ('{facts.config.preset}', this run trains '{run.config.preset}')" if "preset" in changed else ""
        raise CheckpointError(
            f"{run.path}: was trained with another {', '.join(changed)}{of_preset}: give the same configuration, or "
            "another --out"
        )
    refuse_another_network(checkpoint, run.config)
    run.network.load_state_dict(network_of(checkpoint, "network").state_dict())
    run.averaged.load_state_dict(network_of(checkpoint).state_dict())
    _restore_heads(run, checkpoint)
    _restore_optimizer(run, checkpoint, may_be_empty=facts.step == 0 or bool(facts.scaler))
    _restore_scaler(run, facts.scaler)
    _restore_plateau(run, facts.plateau)
    run.step, run.epochs, run.best = facts.step, [dict(epoch) for epoch in facts.epochs], facts.best
    device = next(run.network.parameters()).device
    run.losses = [torch.tensor(loss, device=device) for loss in facts.losses]
    run.gradient_norms = [torch.tensor(norm, device=device) for norm in facts.gradient_norms]
    if facts.taught_by != run.taught_by:
        raise CheckpointError(f"{run.path}: learned from other teachers, or none: give the same, or another --out")
    run.started_from, run.earlier_cases, run.cases = facts.started_from, facts.earlier_cases, facts.cases
    run.held_out = facts.held_out


def _facts_of(checkpoint: Checkpoint) -> Facts:
    known = dataclasses.fields(Facts)
    names = [one.name for one in known if one.name in checkpoint.facts or one.default is dataclasses.MISSING]
    missing = [name for name in names if name not in checkpoint.facts]
    advice = f"give another --out, and --from {checkpoint.where} to begin with its weights"
    if missing:
        raise CheckpointError(
            f"{checkpoint.where}: tells no {', '.join(missing)}, so its run cannot be gone on with: {advice}"
        )
    try:
        return from_mapping(Facts, {name: checkpoint.facts[name] for name in names}, where=checkpoint.where)
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


def refuse_another_network(checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Raise CheckpointError if a checkpoint is of another network than `config` trains."""
    if checkpoint.spec.network != config.network:
        theirs, ours = checkpoint.spec.network, config.network
        if theirs.norm == "none":
            raise CheckpointError(
                f"{checkpoint.where}: its batch norm is folded into its convolutions, so it cannot be trained further: "
                "give the checkpoint that it was made from"
            )
        raise CheckpointError(
            f"{checkpoint.where}: holds '{checkpoint.spec.name}' ({theirs.words}), this run trains '{config.preset}' "
            f"({ours.words}): {_advice(config, theirs)}"
        )


def _advice(config: TrainConfig, wanted: UNetConfig) -> str:
    """What to give so that the network is the wanted one."""
    if dataclasses.replace(wanted, full_norm="same") == dataclasses.replace(config.network, full_norm="same"):
        where = "a recipe with" if config.architecture is None else "an [architecture] with"
        return (
            f"only the norm at full resolution differs: {where} full_norm = '{wanted.full_norm}' goes on from it, in "
            "another --out"
        )
    for name, preset in PRESETS.items() if config.architecture is None else ():
        ours = preset if config.norm == "preset" else dataclasses.replace(preset, norm=config.norm)
        if wanted in (ours, ours.folded):
            return f"give --preset {name}"
    return "give the same preset and norm, or architecture"
