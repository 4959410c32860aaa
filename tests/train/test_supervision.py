"""Deep supervision: which levels learn, by what share, and that nothing of it is left in use."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from ssa_fast.errors import CheckpointError, ConfigError
from ssa_fast.model.checkpoint import load_checkpoint, network_of, save_checkpoint
from ssa_fast.model.spec import PRESETS
from ssa_fast.train.config import LossConfig, TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.losses import segmentation_loss
from ssa_fast.train.placement import Placement
from ssa_fast.train.run import Sources, open_run
from ssa_fast.train.supervision import Supervised, coarse_heads, supervised_loss
from tests.networks import MEMBERS, Stem, random_network, tiny_config

PLACEMENT = Placement(group=Group(), dtype=torch.float32, layout=torch.channels_last_3d)


@pytest.mark.parametrize(("stem", "most"), [("none", 1), ("half", 2)])
def test_coarse_logits_have_half_the_edges_a_scale(stem: Stem, most: int) -> None:
    network = random_network(tiny_config(stem=stem))
    supervised = Supervised(network, coarse_heads(network, most))
    windows = torch.randn(2, 4, 16, 24, 32)
    shapes = [tuple(scale.shape) for scale in supervised(windows)]
    assert shapes == [(2, 4, 16 // 2**place, 24 // 2**place, 32 // 2**place) for place in range(most + 1)]
    assert torch.equal(supervised(windows)[0], network(windows))


def test_behind_a_quarters_stem_the_first_coarse_scale_is_a_quarter() -> None:
    network = random_network(MEMBERS["quarter"])
    supervised = Supervised(network, coarse_heads(network, 1))
    labels = torch.randint(0, 4, (1, 16, 16, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fine, coarse = supervised(torch.randn(1, 4, 16, 16, 16))
    assert coarse.shape == (1, 4, 4, 4, 4)
    wanted = 2 * segmentation_loss(fine, labels, LossConfig())
    wanted = wanted + segmentation_loss(coarse, labels[:, 2::4, 2::4, 2::4], LossConfig())
    assert float(supervised_loss([fine, coarse], labels, LossConfig())) == pytest.approx(float(wanted) / 3, rel=1e-6)


def test_the_loss_halves_from_scale_to_scale_and_looks_at_every_second_voxel() -> None:
    config = LossConfig()
    generator = torch.Generator().manual_seed(0)
    fine, coarse = torch.randn(1, 4, 8, 8, 8, generator=generator), torch.randn(1, 4, 4, 4, 4, generator=generator)
    labels = torch.randint(0, 4, (1, 8, 8, 8), generator=generator)
    wanted = (2 * segmentation_loss(fine, labels, config)) / 3
    wanted = wanted + segmentation_loss(coarse, labels[:, 1::2, 1::2, 1::2], config) / 3
    assert float(supervised_loss([fine, coarse], labels, config)) == pytest.approx(float(wanted), rel=1e-6)
    assert float(supervised_loss([fine], labels, config)) == float(segmentation_loss(fine, labels, config))


def test_every_supervised_level_gets_a_gradient_of_its_own() -> None:
    network = random_network(tiny_config())
    heads = coarse_heads(network, 2)
    logits = Supervised(network, heads)(torch.randn(1, 4, 16, 16, 16))
    logits[2].sum().backward()
    assert network.encoder[0].conv1.weight.grad is not None
    assert network.head.weight.grad is None
    assert heads[1].weight.grad is not None
    assert heads[0].weight.grad is None


@pytest.mark.parametrize(("preset", "most"), [("lite", 3), ("reference", 3)])
def test_the_deepest_level_has_no_decoder_to_supervise(preset: str, most: int) -> None:
    network = random_network(TrainConfig(preset=preset, patch=(32, 32, 32), supervised_levels=most).network)
    assert len(coarse_heads(network, most)) == most
    with pytest.raises(ConfigError, match=f"supervised_levels must be 0 to {most}"):
        TrainConfig(preset=preset, supervised_levels=most + 1)


def test_heads_come_back_with_a_run_and_are_not_in_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "fast", tiny_config())
    config = TrainConfig(patch=(16, 16, 16), steps=2, precision="float32", supervised_levels=2)
    run = open_run(config, tmp_path, Sources(), PLACEMENT)
    for parameter in run.parameters:
        parameter.grad = torch.rand_like(parameter)
    run.optimizer.step()
    run.step = 1
    run.save()
    opened = open_run(dataclasses.replace(config, steps=3), tmp_path, Sources(), PLACEMENT)
    for saved, read in zip(run.parameters, opened.parameters, strict=True):
        assert torch.equal(saved, read)
    checkpoint = load_checkpoint(run.path)
    assert network_of(checkpoint).state_dict().keys() == run.averaged.state_dict().keys()
    cut = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith("heads.1")}
    save_checkpoint(run.path, dataclasses.replace(checkpoint, tensors=cut))
    with pytest.raises(CheckpointError, match="coarse heads do not fit"):
        open_run(config, tmp_path, Sources(), PLACEMENT)
