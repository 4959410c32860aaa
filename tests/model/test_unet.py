"""The network in torch: shapes, layouts, folding."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ssa_fast.errors import ConfigError
from ssa_fast.model.blocks import BatchInstanceNorm, GroupNorm, InstanceNorm
from ssa_fast.model.network import Stem, UNetConfig
from ssa_fast.model.unet import UNet, fold_batch_norm
from tests.networks import MEMBERS, Norm, random_network, tiny_config

NORMS: tuple[Norm, ...] = ("batch", "instance", "group")
STEMS: tuple[Stem, ...] = ("none", "half")
KINDS = {f"{norm}-{stem}": tiny_config(norm, stem) for norm in NORMS for stem in STEMS} | MEMBERS
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_logits_have_the_shape_of_the_windows(kind: str) -> None:
    network = random_network(KINDS[kind])
    with torch.inference_mode():
        assert network(torch.randn(2, 4, 16, 24, 32)).shape == (2, 4, 16, 24, 32)


@every_kind
def test_channels_last_changes_the_layout_not_the_answer(kind: str) -> None:
    network = random_network(KINDS[kind])
    windows = torch.randn(1, 4, 16, 24, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = network(windows)
        network.to(memory_format=torch.channels_last_3d)
        seen = network(windows.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-4)


@every_kind
def test_each_window_of_a_batch_is_alone(kind: str) -> None:
    network = random_network(KINDS[kind])
    windows = torch.randn(3, 4, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(network(windows)[1:2], network(windows[1:2]), rtol=1e-4, atol=1e-4)


def test_a_shortcut_adds_what_a_unit_was_given() -> None:
    config = UNetConfig(channels=(4, 4), norm="none", block="residual", convolutions=(3, 1))
    network = random_network(config)
    block = network.encoder[0]
    for number in (1, 2, 3):
        getattr(block, f"conv{number}").weight.data.zero_()
        getattr(block, f"conv{number}").bias.data.zero_()
    x = torch.randn(1, 4, 4, 4, 4)
    assert torch.equal(block(x), x.relu())  # two units of a block that does nothing else
    block.conv2.bias.data.fill_(1)
    assert torch.equal(block(x), (x + 1).relu())
    block.conv1.bias.data.fill_(1)  # inside a unit: conv2 has no weights to see it
    assert torch.equal(block(x), (x + 1).relu())


def test_pooling_under_autocast_stays_in_its_precision() -> None:
    network = random_network(tiny_config("batch", "none"))
    pooled = []
    network.encoder[1].register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(1, 4, 16, 16, 16))
    assert pooled == [torch.bfloat16]


@pytest.mark.parametrize("batch", [1, 3])
def test_instance_norm_is_that_of_torch(batch: int) -> None:
    ours, theirs = InstanceNorm(5), torch.nn.InstanceNorm3d(5, affine=True)
    for norm in (ours, theirs):
        torch.nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
        torch.nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    x = torch.randn(batch, 5, 4, 6, 8, generator=torch.Generator().manual_seed(3)) * 7 + 3
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
def test_instance_norm_of_a_whole_brain_is_exact(batch: int) -> None:
    x = torch.randn(batch, 3, 96, 128, 96, generator=torch.Generator().manual_seed(0)) * 3 + 5
    norm = InstanceNorm(3).eval()
    with torch.inference_mode():
        seen = norm(x.to(memory_format=torch.channels_last_3d))
    wanted = torch.nn.functional.instance_norm(x.double())
    assert (seen - wanted).abs().max() < 1e-5  # batch norm's own sums were 3e-4 and more off
    assert seen.is_contiguous(memory_format=torch.channels_last_3d)


def test_instance_norm_of_one_window_keeps_the_channels_last_layout() -> None:
    x = torch.randn(1, 5, 4, 6, 8).to(memory_format=torch.channels_last_3d)
    assert InstanceNorm(5)(x).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("kind", ["batch-none", "batch-half", "deep", "residual"])
def test_folding_batch_norm_changes_names_not_logits(kind: str) -> None:
    network = random_network(KINDS[kind])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold_batch_norm(network)
    windows = torch.randn(1, 4, 16, 24, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(folded(windows), network(windows), rtol=1e-3, atol=1e-3)
    assert folded.config.norm == "none"
    assert not any("norm" in name for name in folded.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_folding_leaves_instance_norm_as_it_is() -> None:
    network = random_network(tiny_config("instance"))
    folded = fold_batch_norm(network)
    assert folded.config == network.config
    assert folded.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_batch_norm_at_full_resolution_is_folded_too(norm: Norm) -> None:
    config = UNetConfig(channels=(4, 6), norm=norm, stem="half", full_norm="ghost-batch")
    network = random_network(config)
    folded = fold_batch_norm(network)
    assert folded.config == config.folded
    assert folded.config.norm_of_full_block == "none"
    assert folded.config.norm == ("none" if norm == "batch" else norm)
    windows = torch.randn(1, 4, 16, 24, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(folded(windows), network(windows), rtol=1e-3, atol=1e-3)


def test_group_norm_is_that_of_torch() -> None:
    ours, theirs = GroupNorm(16), torch.nn.GroupNorm(8, 16)
    for norm in (ours, theirs):
        torch.nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
        torch.nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    x = torch.randn(2, 16, 4, 6, 8, generator=torch.Generator().manual_seed(3)) * 7 + 3
    torch.testing.assert_close(ours(x), theirs(x))


def _batch_instance_norm(channels: int) -> BatchInstanceNorm:
    norm, generator = BatchInstanceNorm(channels), torch.Generator().manual_seed(4)
    for tensor in norm.state_dict().values():
        tensor.uniform_(0.5, 2, generator=generator)
    return norm


@pytest.mark.parametrize("windows", [1, 2])
def test_batch_instance_norm_is_the_mean_of_torchs_two(windows: int) -> None:
    ours = _batch_instance_norm(6).eval()
    batch, instance = torch.nn.BatchNorm3d(6).eval(), torch.nn.InstanceNorm3d(6, affine=True)
    for norm in (batch, instance):
        norm.load_state_dict(ours.state_dict(), strict=False)
    x = torch.randn(windows, 6, 4, 6, 8, generator=torch.Generator().manual_seed(5)) * 3 + 2
    for dtype, limit in (
        (torch.float32, 1e-5),
        (torch.bfloat16, 0.1),
    ):  # two ways: by rows in float64, by torch's norms
        torch.testing.assert_close(ours(x.to(dtype)).float(), (batch(x) + instance(x)) / 2, rtol=limit, atol=limit)


@pytest.mark.parametrize("windows", [1, 2])
def test_batch_instance_norm_is_trained_as_instance_norm_and_remembers_each_window(windows: int) -> None:
    ours, theirs = _batch_instance_norm(6).train(), InstanceNorm(6).train()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    before = {name: statistics.clone() for name, statistics in ours.named_buffers()}
    x = torch.randn(windows, 6, 4, 6, 8, generator=torch.Generator().manual_seed(5)) * 3 + 2
    assert torch.equal(ours(x), theirs(x))
    seen = {"running_mean": x.mean((2, 3, 4)).mean(0), "running_var": x.var((2, 3, 4)).mean(0)}
    for name, statistics in ours.named_buffers():
        torch.testing.assert_close(statistics, 0.9 * before[name] + 0.1 * seen[name])


def test_the_block_at_full_resolution_may_have_a_norm_of_its_own() -> None:
    config = UNetConfig(channels=(4, 6), norm="instance", stem="half", full_norm="batch-instance")
    network = UNet(config)
    assert network.full is not None
    assert isinstance(network.full.norm, BatchInstanceNorm)
    assert not any(isinstance(module, BatchInstanceNorm) for module in network.encoder.modules())
    assert config.words.endswith("batch-instance norm at full resolution")
    bare = UNet(dataclasses.replace(config, full_norm="none"))
    assert bare.full is not None
    assert bare.full.conv.bias is not None
    assert bare.config.words.endswith("instance norm, stem half, no norm at full resolution")
    without: list[tuple[Stem, bool]] = [("none", True), ("half", False)]
    for stem, has_full_block in without:
        with pytest.raises(ConfigError, match="full_norm must be 'same'"):
            UNetConfig(channels=(4, 6), stem=stem, has_full_block=has_full_block, full_norm="batch-instance")
    with pytest.raises(ConfigError, match="full_norm must be one of same, ghost-batch, batch-instance, none"):
        UNetConfig(channels=(4, 6), stem="half", full_norm="group")  # type: ignore[arg-type]
