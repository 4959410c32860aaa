"""How `ssa-fast train` comes by the way to compute: as its run began, as measured, or by rule; it says which."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssa_fast.cli.cache import cache_folder
from ssa_fast.errors import ConfigError

if TYPE_CHECKING:
    from ssa_fast.train.config import ExecutionConfig, TrainConfig
    from ssa_fast.train.group import Group
    from ssa_fast.train.tune import Tuning

__all__ = ["tuned"]


def tuned(config: TrainConfig, checkpoint: Path, group: Group, *, is_asked: bool) -> ExecutionConfig | None:
    """What is known to be fastest for each `auto` of `config`, none where rules hold; measured if that `is_asked` for.

    A run that is there already goes on as it began, whatever was measured since.
    """
    from ssa_fast.train.placement import as_begun, choose_placement

    if checkpoint.exists():
        execution = as_begun(config, checkpoint).execution
        origin = "as its run began" + (", not measured again" if is_asked else "")
    else:
        execution, origin = _measure(config, group) if is_asked else _known(config, group)
    if group.is_first:
        chosen = choose_placement(dataclasses.replace(config, execution=execution), group).execution
        click.echo(f"{chosen.words}: {origin}")
    return execution


def _measure(config: TrainConfig, group: Group) -> tuple[ExecutionConfig, str]:
    from ssa_fast.train.placement import choose_placement
    from ssa_fast.train.tune import LIMIT_S, refuse_several, tune
    from ssa_fast.train.tuned import TUNED, keep_tuned, tuning_key

    refuse_several(group)
    choose_placement(config, group)  # a precision that is not to be had is known now
    click.echo(f"measuring how to train fastest here: {LIMIT_S:.0f} s, or a minute or two more to compile")
    tuning = tune(config, group)
    _print_trials(tuning, config)
    keep_tuned(cache_folder(), tuning_key(config, group), tuning.execution)
    return tuning.execution, f"fastest of these, kept in {cache_folder() / TUNED}"


def _known(config: TrainConfig, group: Group) -> tuple[ExecutionConfig | None, str]:
    from ssa_fast.train.placement import agreed_execution
    from ssa_fast.train.tuned import find_tuned, threads_tuned, tuning_key

    if config.execution is not None or "auto" not in (config.precision, config.layout, config.compile):
        return config.execution, "as asked"
    execution, others = None, []
    if group.is_first:
        key = tuning_key(config, group)
        try:
            execution = find_tuned(cache_folder(), key)
            others = threads_tuned(cache_folder(), key)
        except ConfigError as error:
            click.echo(str(error), err=True)
    execution = agreed_execution(execution, config, group)
    if execution is None and others:
        measured = " and ".join(map(str, others))
        return (
            None,
            f"by rule; what was measured with {measured} threads is not used: a process here has another number",
        )
    if execution is None:
        return None, "by rule; --tune would measure what is fastest here"
    return execution, f"measured on this machine on {execution.measured_on}"


def _print_trials(tuning: Tuning, config: TrainConfig) -> None:
    first = tuning.trials[0]
    patch = " x ".join(map(str, tuning.patch))
    why = "" if tuning.patch == config.patch else ", smaller than yours, for an update takes long here"
    click.echo(f"updates with patches of {patch}, {config.batch} at once{why}:")
    width = max(len(trial.execution.words) for trial in tuning.trials)
    for trial in tuning.trials:
        words = trial.execution.words.ljust(width)
        if math.isnan(trial.seconds):
            click.echo(f"  {words}  {trial.problem}")
            continue
        click.echo(
            f"  {words}  {trial.seconds * 1000:8.1f} ms  {first.seconds / trial.seconds:5.2f} x  "
            f"loss {trial.loss - first.loss:+.5f}  {trial.problem or 'sound'}"
        )
