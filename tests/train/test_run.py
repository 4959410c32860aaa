"""The state of a run: what comes back from a checkpoint, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssa_fast.errors import CheckpointError, ConfigError
from ssa_fast.model.checkpoint import load_checkpoint, save_checkpoint
from ssa_fast.model.spec import PRESETS
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.placement import Placement
from ssa_fast.train.run import Sources, open_run
from ssa_fast.train.state import Run
from tests.networks import tiny_config

CONFIG = TrainConfig(patch=(16, 16, 16), steps=2, precision="float32")
FLOAT32 = Placement(group=Group(), dtype=torch.float32, layout=torch.channels_last_3d)
FP16 = dataclasses.replace(FLOAT32, dtype=torch.float16)


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "fast", tiny_config())


def _saved(folder: Path, placement: Placement = FLOAT32, scale: float = 512.0) -> Run:
    """A run of one step, in its folder."""
    run = open_run(CONFIG, folder, Sources(), placement)
    for parameter in run.network.parameters():
        parameter.grad = torch.rand_like(parameter)
    run.optimizer.step()
    run.step = 1
    if run.scaler.is_enabled():
        run.scaler.load_state_dict({**run.scaler.state_dict(), "scale": scale})
    run.save()
    return run


def test_a_run_comes_back_as_it_was_saved_in_memory_too(tmp_path: Path) -> None:
    saved = _saved(tmp_path)
    opened = open_run(CONFIG, tmp_path, Sources(), FLOAT32)
    assert opened.step == 1
    for place, values in saved.optimizer.state_dict()["state"].items():
        for key, tensor in values.items():
            other = opened.optimizer.state_dict()["state"][place][key]
            assert torch.equal(other, tensor)
            assert other.stride() == tensor.stride()


def test_a_run_that_was_stopped_before_its_first_step_is_gone_on_with(tmp_path: Path) -> None:
    open_run(CONFIG, tmp_path, Sources(), FLOAT32).save()
    assert open_run(CONFIG, tmp_path, Sources(), FLOAT32).step == 0


@pytest.mark.parametrize("earlier", [FLOAT32, FP16])
@pytest.mark.parametrize("later", [FLOAT32, FP16])
def test_a_run_goes_on_in_another_precision(earlier: Placement, later: Placement, tmp_path: Path) -> None:
    _saved(tmp_path, earlier)
    scaler = open_run(CONFIG, tmp_path, Sources(), later).scaler
    if later is FP16:
        assert scaler.get_scale() == (512 if earlier is FP16 else 65536)
    else:
        assert not scaler.is_enabled()


def _rewrite(folder: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> None:
    path = folder / "last.safetensors"
    checkpoint = load_checkpoint(path)
    facts, tensors = dict(checkpoint.facts), dict(checkpoint.tensors)
    change(facts, tensors)
    save_checkpoint(path, dataclasses.replace(checkpoint, facts=facts, tensors=tensors))


FACTS = (
    *("config", "step", "losses", "epochs", "plateau", "scaler", "started_from"),
    *("earlier_cases", "cases", "held_out"),
)


@pytest.mark.parametrize("name", FACTS)
def test_a_checkpoint_that_lacks_a_fact_is_refused(name: str, tmp_path: Path) -> None:
    _saved(tmp_path)
    _rewrite(tmp_path, lambda facts, tensors: facts.pop(name))
    with pytest.raises(
        CheckpointError, match=rf"last\.safetensors: tells no {name}, .* give another --out, and --from"
    ):
        open_run(CONFIG, tmp_path, Sources(), FLOAT32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("config", {"colour": 1}),
        ("config", 3),
        *((name, 2.5) for name in FACTS),
        ("epochs", [1]),
        ("best", "high"),
        ("losses", ["low"]),
        ("cases", [1]),
    ],
)
def test_a_fact_of_another_type_is_refused(name: str, value: object, tmp_path: Path) -> None:
    _saved(tmp_path)
    _rewrite(tmp_path, lambda facts, tensors: facts.update({name: value}))
    with pytest.raises(CheckpointError, match=r"last\.safetensors.*: .*give another --out, and --from"):
        open_run(CONFIG, tmp_path, Sources(), FLOAT32)


def test_a_scaler_without_its_numbers_is_refused(tmp_path: Path) -> None:
    _saved(tmp_path, FP16)
    _rewrite(tmp_path, lambda facts, tensors: facts["scaler"].pop("scale"))
    with pytest.raises(CheckpointError, match="the scaler's scale is None, wanted a number"):
        open_run(CONFIG, tmp_path, Sources(), FP16)


def test_a_patch_of_one_voxel_at_the_deepest_level_is_refused(tmp_path: Path) -> None:
    edge = CONFIG.network.divisor
    with pytest.raises(ConfigError, match="leaves one voxel at the deepest level of 'fast'"):
        open_run(dataclasses.replace(CONFIG, patch=(edge, edge, edge)), tmp_path, Sources(), FLOAT32)


def _without_optimizer(facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    for name in [name for name in tensors if name.startswith("optimizer.")]:
        del tensors[name]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda facts, tensors: tensors.pop("optimizer.3.exp_avg"), "optimizer.3.exp_avg is not there"),
        (lambda facts, tensors: tensors.update({"optimizer.0.step": torch.ones(2)}), r"has shape \(2,\), wanted \(\)"),
        (lambda facts, tensors: tensors.update({"optimizer.0.exp_avg_sq": torch.ones(2)}), r"has shape \(2,\), wanted"),
        (_without_optimizer, "optimizer.0.step is not there"),
    ],
)
def test_a_damaged_optimizer_is_refused(change: Callable[..., object], words: str, tmp_path: Path) -> None:
    _saved(tmp_path)
    _rewrite(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        open_run(CONFIG, tmp_path, Sources(), FLOAT32)


def test_a_preset_that_has_changed_since_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _saved(tmp_path)
    monkeypatch.setitem(PRESETS, "fast", tiny_config(stem="none"))
    with pytest.raises(CheckpointError, match="give the same preset and norm"):
        open_run(CONFIG, tmp_path, Sources(), FLOAT32)
