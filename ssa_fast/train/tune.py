"""How this machine trains a network fastest: layout, precision and compiling, timed on whole updates of the weights.

What pays on one machine costs on another. On a virtual AMD EPYC of two cores, busy with other things, compiling made an
update of `lite` at 96^3 in bf16 1.02 to 1.13 times as fast (A B A B, losses 0.00003 apart) after one to two minutes of
compiling, and one of `reference` at 64^3 1.00 times. AdamW in one fused kernel changed nothing (1.00), nor did the
running average by `torch._foreach_lerp_`; so neither is here.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

import torch

from ssa_fast import hardware
from ssa_fast.errors import ConfigError, NumericsError
from ssa_fast.train.config import ExecutionConfig, TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.placement import choose_placement, device_precisions
from ssa_fast.train.trial import BASELINE, TIME_IS_UP, Bench, Trial, seconds_of_an_update

__all__ = ["LIMIT_S", "Tuning", "choose", "refuse_several", "tune", "tuned_patch"]

LIMIT_S = (
    90.0  # half of it is kept for compiling; nothing is begun after it, but compiling, once begun, goes on to its end
)
_UPDATE_LIMIT_S = 4.0  # an update that takes longer is measured on a smaller patch
_LEAST_GAIN_OF_COMPILING = 1.05  # times as fast: a minute of compiling is to come back
_LEAST_GAIN_OF_EMULATION = 1.1  # of fp16 on a card whose tensor cores are emulated


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What was measured, and what is best."""

    trials: Sequence[Trial]  # the first is BASELINE
    patch: tuple[int, int, int]  # that it was measured on
    execution: ExecutionConfig


def tune(config: TrainConfig, group: Group, limit_s: float = LIMIT_S) -> Tuning:
    """Measure the ways to compute an update that `config` leaves open, on copies: nothing of a run is touched.

    Layout and precision first, then whether compiling pays on the best of them. A way whose loss or gradient is not
    float32's is out of the question, whatever its speed. Raises ConfigError in one of several processes, NumericsError
    if no way is left.
    """
    refuse_several(group)
    began_at = time.perf_counter()
    config = dataclasses.replace(config, accumulate=1, execution=None)
    is_emulated = group.device.type == "cuda" and hardware.has_emulated_tensor_cores(
        torch.cuda.get_device_name(group.device)
    )
    with torch.random.fork_rng(devices=[group.device] if group.device.type == "cuda" else []):
        config = dataclasses.replace(config, patch=_affordable_patch(config, group))
        config, bench, trials = _eager(config, group, began_at + limit_s / 2)
        best = choose(trials, config, is_emulated=is_emulated)
        if config.compile != "off":
            bench.deadline = began_at + limit_s
            compiled = _compiled(bench, best)
            trials = [*trials, compiled]
            best = choose([best, compiled], config, is_emulated=is_emulated)
    today = datetime.now(tz=timezone.utc).date().isoformat()
    execution = dataclasses.replace(best.execution, measured_on=today)
    return Tuning(trials=trials, patch=config.patch, execution=execution)


def _eager(config: TrainConfig, group: Group, deadline: float) -> tuple[TrainConfig, Bench, list[Trial]]:
    """Trials of all ways that are not compiled, and what they were measured on: float32 may want a smaller patch."""
    while True:
        bench = Bench(config, group, deadline)
        try:
            return config, bench, bench.measure(_ways(config, group), sure=2)
        except torch.OutOfMemoryError:
            smaller = _halved(config.patch, config.network.divisor)
            if smaller == config.patch:
                raise
            config = dataclasses.replace(config, patch=smaller)


def _compiled(bench: Bench, best: Trial) -> Trial:
    """The best way, compiled; timed beside it once more, for what else a machine does slows both."""
    compiled = dataclasses.replace(best.execution, is_compiled=True)
    if bench.is_over:
        return Trial(execution=compiled, problem=TIME_IS_UP)
    again, trial = bench.measure([best.execution, compiled], sure=2)
    return dataclasses.replace(trial, seconds=trial.seconds * best.seconds / again.seconds)


def refuse_several(group: Group) -> None:
    """Raise ConfigError in one of several processes."""
    if group.size > 1:
        raise ConfigError(
            "several processes cannot tune at once: tune in one, without torchrun; on GPUs they take it up"
        )


def choose(trials: Sequence[Trial], config: TrainConfig, *, is_emulated: bool = False) -> Trial:
    """The fastest sound trial that is what `config` asks for; what must pay well, compiling say, only if it does.

    Raises NumericsError if there is none.
    """
    sound = [trial for trial in trials if not trial.problem and _is_asked(trial.execution, config)]
    if not sound:
        problems = "; ".join(f"{trial.execution.words}: {trial.problem}" for trial in trials if trial.problem)
        raise NumericsError(f"no way to train in {config.precision} is sound here ({problems}): ask for another")
    exact = [trial.seconds for trial in sound if trial.execution.precision == "float32"]
    eager = [trial.seconds for trial in sound if not trial.execution.is_compiled]

    def is_worth_it(trial: Trial) -> bool:
        if is_emulated and trial.execution.precision == "fp16" and exact:
            return min(exact) / trial.seconds >= _LEAST_GAIN_OF_EMULATION
        if trial.execution.is_compiled and eager:
            return min(eager) / trial.seconds >= _LEAST_GAIN_OF_COMPILING
        return True

    return min(filter(is_worth_it, sound), key=lambda trial: trial.seconds)


def tuned_patch(config: TrainConfig, seconds_a_voxel: float) -> tuple[int, int, int]:
    """The patch to measure on: that of `config`, its edges halved until an update is bearable.

    Three voxels or more are left at the deepest level, where bf16 is sound on a CPU. With a divisor of 16 and 32 s for
    128^3: (64, 64, 64), which takes 4 s.
    """
    divisor, patch = config.network.divisor, config.patch
    while math.prod(patch) * config.batch * seconds_a_voxel > _UPDATE_LIMIT_S:
        smaller = _halved(patch, divisor)
        if smaller == patch:
            break
        patch = smaller
    return patch


def _halved(patch: tuple[int, int, int], divisor: int) -> tuple[int, int, int]:
    x, y, z = (min(edge, max(3 * divisor, edge // 2 // divisor * divisor)) for edge in patch)
    return x, y, z


def _affordable_patch(config: TrainConfig, group: Group) -> tuple[int, int, int]:
    """By the time of an update of the smallest patch: on a CPU one of the whole patch may take half a minute."""
    smallest = tuned_patch(config, math.inf)
    if smallest == config.patch:
        return smallest
    seconds = seconds_of_an_update(dataclasses.replace(config, patch=smallest), group)
    return tuned_patch(config, seconds / (math.prod(smallest) * config.batch))


def _ways(config: TrainConfig, group: Group) -> list[ExecutionConfig]:
    """Not compiled: the baseline, what would be taken without measuring, and all else that `config` leaves open."""
    by_rule = dataclasses.replace(choose_placement(config, group).execution, is_compiled=False)
    layouts: tuple[Literal["contiguous", "channels_last"], ...] = ("contiguous", "channels_last")
    ways = [
        ExecutionConfig(precision=precision, layout=layout, is_compiled=False)
        for precision in device_precisions(config, group.device)
        for layout in layouts
    ]
    asked = [way for way in (by_rule, *ways) if _is_asked(way, config)]
    return list(dict.fromkeys([BASELINE, *asked]))


def _is_asked(execution: ExecutionConfig, config: TrainConfig) -> bool:
    return config.precision in ("auto", execution.precision) and config.layout in ("auto", execution.layout)
