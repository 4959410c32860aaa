"""What is chosen of what was measured, and what is out of the question whatever its speed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ssa_fast import hardware
from ssa_fast.errors import ConfigError, NumericsError
from ssa_fast.model.spec import PRESETS
from ssa_fast.train import trial
from ssa_fast.train.config import ExecutionConfig, TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.loop import update
from ssa_fast.train.placement import Placement
from ssa_fast.train.state import Run
from ssa_fast.train.trial import BASELINE, TIME_IS_UP, Trial
from ssa_fast.train.tune import choose, tune, tuned_patch
from tests.networks import tiny_config

CONFIG = TrainConfig(patch=(32, 16, 16), compile="off")
BF16 = dataclasses.replace(BASELINE, precision="bf16")
FP16 = dataclasses.replace(BASELINE, precision="fp16")
LAST = dataclasses.replace(BASELINE, layout="channels_last")
COMPILED = dataclasses.replace(BASELINE, is_compiled=True)


@pytest.fixture(autouse=True)
def _tiny_networks_and_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "fast", tiny_config())
    processor = dataclasses.replace(hardware.cpu(), name="AMD", flags=frozenset({"avx512_bf16"}))
    monkeypatch.setattr(hardware, "cpu", lambda: processor)


def _trial(execution: ExecutionConfig, seconds: float, problem: str = "") -> Trial:
    return Trial(execution=execution, seconds=seconds, loss=2.0, problem=problem)


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ([_trial(BASELINE, 3), _trial(LAST, 2), _trial(BF16, 1)], BF16),
        ([_trial(BASELINE, 2), _trial(LAST, 3), _trial(BF16, 4)], BASELINE),
        ([_trial(BASELINE, 3), _trial(LAST, 2), _trial(BF16, 1, "its loss is nan")], LAST),
        ([_trial(BASELINE, 1.00), _trial(COMPILED, 0.97)], BASELINE),  # compiling must pay
        ([_trial(BASELINE, 1.00), _trial(COMPILED, 0.90)], COMPILED),
        ([_trial(BASELINE, 1.00), _trial(FP16, 0.95)], FP16),
    ],
)
def test_the_fastest_sound_way_is_chosen(trials: list[Trial], chosen: ExecutionConfig) -> None:
    assert choose(trials, TrainConfig()).execution == chosen


@pytest.mark.parametrize(("seconds", "chosen"), [(0.95, LAST), (0.90, FP16)])
def test_fp16_on_emulated_tensor_cores_must_be_a_tenth_faster(seconds: float, chosen: ExecutionConfig) -> None:
    trials = [_trial(BASELINE, 2), _trial(LAST, 1), _trial(FP16, seconds)]
    assert choose(trials, TrainConfig(), is_emulated=True).execution == chosen


def test_what_is_asked_for_goes_before_what_is_fast() -> None:
    trials = [_trial(BASELINE, 3), _trial(LAST, 2), _trial(BF16, 1)]
    assert choose(trials, TrainConfig(precision="float32")).execution == LAST
    assert choose(trials, TrainConfig(precision="float32", layout="contiguous")).execution == BASELINE
    broken = [_trial(BASELINE, 3), _trial(BF16, 1, "its gradient is not finite")]
    with pytest.raises(NumericsError, match=r"no way to train in bf16 is sound here \(bf16, contiguous: its gradient"):
        choose(broken, TrainConfig(precision="bf16"))


@pytest.mark.parametrize(
    ("seconds_at_128", "patch"),
    [(1.0, (128, 128, 128)), (32.0, (64, 64, 64)), (1000.0, (48, 48, 48))],  # edges of 16, three at the deepest level
)
def test_a_slow_update_is_measured_on_a_smaller_patch(
    seconds_at_128: float, patch: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(preset="reference", patch=(128, 128, 128))
    assert tuned_patch(config, seconds_at_128 / 128**3) == patch
    assert tuned_patch(dataclasses.replace(config, patch=(32, 128, 48)), 1.0) == (32, 48, 48)


def _spoil(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Run], object]) -> None:
    """Updates in bf16 do another thing to the run than the true ones."""

    def spoiled(run: Run, network: nn.Module, batches: Any, placement: Placement) -> torch.Tensor:
        loss = update(run, network, batches, placement)
        spoilt = spoil(run) if placement.dtype == torch.bfloat16 else None
        return spoilt if isinstance(spoilt, torch.Tensor) else loss

    monkeypatch.setattr(trial, "update", spoiled)


def _each_gradient(change: Callable[[torch.Tensor], object]) -> Callable[[Run], None]:
    def change_all(run: Run) -> None:
        for parameter in run.network.parameters():
            if parameter.grad is not None:
                change(parameter.grad)

    return change_all


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda run: torch.tensor(float("nan")), "its loss is nan"),
        (lambda run: torch.tensor(1.0), "its loss is 1.0000, that of float32 "),
        (_each_gradient(lambda gradient: gradient.fill_(float("inf"))), "its gradient is not finite"),
        (_each_gradient(torch.Tensor.neg_), "its gradient points elsewhere: cosine -1.00 with float32's"),
    ],
)
def test_a_way_that_computes_something_else_is_refused(
    spoil: Callable[[Run], object], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial._Subject, "timed", lambda self: 1.0 if self.execution.precision == "bf16" else 2.0)
    assert tune(CONFIG, Group()).execution.precision == "bf16"
    _spoil(monkeypatch, spoil)
    tuning = tune(CONFIG, Group())
    assert tuning.execution.precision == "float32"
    assert tuning.trials[0].execution == BASELINE
    assert {one.execution.precision: problem in one.problem for one in tuning.trials} == {
        "float32": False,
        "bf16": True,
    }


def test_a_way_that_the_device_cannot_run_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: Run) -> None:
        raise RuntimeError("unable to find an engine\nto execute this")

    _spoil(monkeypatch, fail)
    tuning = tune(CONFIG, Group())
    problems = [one.problem for one in tuning.trials if one.execution.precision == "bf16"]
    assert problems == ["RuntimeError: unable to find an engine"] * 2
    assert tuning.execution.precision == "float32"


def test_when_the_time_is_up_float32_and_what_rules_say_are_measured_all_the_same() -> None:
    tuning = tune(dataclasses.replace(CONFIG, compile="auto"), Group(), limit_s=0)
    measured = [(one.execution.words, one.problem) for one in tuning.trials]
    assert measured[:2] == [("float32, contiguous", ""), ("bf16, channels-last", "")]
    assert [problem for _, problem in measured[2:]] == [TIME_IS_UP] * 3
    assert tuning.execution.words in ("float32, contiguous", "bf16, channels-last")
    assert len(tuning.execution.measured_on) == len("2026-01-01")


def test_a_network_that_cannot_be_compiled_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "compiled_or_reason", lambda network, *_: (network, "no compiler"))
    tuning = tune(dataclasses.replace(CONFIG, compile="auto"), Group())
    assert tuning.trials[-1].problem == "cannot be compiled: no compiler"
    assert not tuning.execution.is_compiled


def test_compiling_is_chosen_where_it_pays_and_timed_beside_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = {"now": 1.0}  # of the machine, which is slower later

    def compiled(network: nn.Module, *_: object) -> tuple[nn.Module, str]:
        pace["now"] = 10.0
        return network, ""

    monkeypatch.setattr(trial, "compiled_or_reason", compiled)
    monkeypatch.setattr(
        trial._Subject, "timed", lambda self: pace["now"] * (0.5 if self.execution.is_compiled else 1.0)
    )
    tuning = tune(dataclasses.replace(CONFIG, compile="auto"), Group())
    assert tuning.execution.is_compiled
    assert tuning.trials[-1].seconds == pytest.approx(0.5)


def test_tuning_draws_no_random_numbers_of_anybody_else() -> None:
    before = torch.random.get_rng_state()
    tune(CONFIG, Group(), limit_s=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_several_processes_do_not_tune_at_once() -> None:
    with pytest.raises(ConfigError, match="tune in one, without torchrun"):
        tune(CONFIG, Group(size=2))
