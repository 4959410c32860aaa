"""A compiled network: the same network, or one line that says why it is not compiled."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import Unsupported

from ssa_fast.model.spec import PRESETS, UNetConfig
from ssa_fast.train.compiled import compile_for_training
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.loop import update
from ssa_fast.train.placement import choose_placement
from ssa_fast.train.run import Sources, open_run

CONFIG = TrainConfig(patch=(16, 16, 16), accumulate=2, precision="float32", recomputed_levels=1, warmup_steps=0)
COMPILED = dataclasses.replace(CONFIG, compile="on")


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "fast", UNetConfig(channels=(4, 6), norm="batch", stem="none"))  # compiles in seconds


class _Uncompilable(nn.Module):
    def forward(self, windows: Tensor) -> Tensor:
        raise Unsupported("no such operator\nand a page about it")


def _losses(config: TrainConfig, folder: Path) -> tuple[list[float], list[str]]:
    """Of four updates, and the names in the checkpoint's network."""
    placement = choose_placement(config, Group())
    run = open_run(config, folder, Sources(), placement)
    network = compile_for_training(run.supervised, config, placement)
    assert (network is run.supervised) == (config.compile != "on")
    generator = torch.Generator().manual_seed(0)
    patches, labels = torch.randn(2, 1, 4, 16, 16, 16, generator=generator), torch.ones(1, 16, 16, 16, dtype=torch.long)
    losses = [float(update(run, network, [(patch, labels) for patch in patches], placement)) for _ in range(4)]
    return losses, list(run.network.state_dict())


@pytest.mark.slow
def test_a_compiled_network_learns_as_itself(tmp_path: Path) -> None:
    compiled, names = _losses(COMPILED, tmp_path)
    plain, plain_names = _losses(CONFIG, tmp_path)
    assert compiled == pytest.approx(plain, abs=1e-4)
    assert plain[3] < plain[0] - 0.01
    assert names == plain_names


def test_what_cannot_be_compiled_is_trained_as_it_is_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: _Uncompilable())
    placement = choose_placement(COMPILED, Group())
    network = open_run(COMPILED, tmp_path, Sources(), placement).network
    assert compile_for_training(network, COMPILED, placement) is network
    assert caplog.messages == ["the network is not compiled: Unsupported: no such operator"]


def test_the_trial_run_leaves_the_network_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, **_: nn.Sequential(network))
    placement = choose_placement(COMPILED, Group())
    network = open_run(COMPILED, tmp_path, Sources(), placement).network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert compile_for_training(network, COMPILED, placement) is not network
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())
