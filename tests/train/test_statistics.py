"""Batch norm's statistics taken again: their mean over whole cases, and nothing else is changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ssa_fast.train.dataset import TrainingCase
from ssa_fast.train.group import Group
from ssa_fast.train.placement import Placement
from ssa_fast.train.statistics import reestimate
from tests.networks import random_network, tiny_config

PLACEMENT = Placement(group=Group(), dtype=torch.float32, layout=torch.channels_last_3d)


def _case(seed: int, *, is_phantom: bool = False) -> TrainingCase:
    array = torch.randn(4, 18, 16, 22, generator=torch.Generator().manual_seed(seed)) * (1 + seed)
    labels = torch.zeros(18, 16, 22, dtype=torch.uint8)
    return TrainingCase(name=f"Case-{seed}", array=array.half(), labels=labels, voxels={}, is_phantom=is_phantom)


def test_statistics_are_the_mean_over_whole_cases_and_phantoms_do_not_count() -> None:
    network = random_network(tiny_config("batch", "none"))
    first = network.encoder[0]
    cases = [_case(0), _case(1)]
    reestimate(network, [*cases, _case(2, is_phantom=True)], PLACEMENT)
    means, variances = [], []
    for case in cases:
        window = np.zeros((1, 4, 20, 16, 24), dtype=np.float32)  # edges in multiples of 4, padded on both sides
        window[0, :, 1:19, :, 1:23] = case.array.float().numpy()
        with torch.no_grad():
            seen = first.conv1(torch.from_numpy(window)).double()
        means.append(seen.mean(dim=(0, 2, 3, 4)))
        variances.append(seen.var(dim=(0, 2, 3, 4)))
    torch.testing.assert_close(first.norm1.running_mean.double(), (means[0] + means[1]) / 2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        first.norm1.running_var.double(), (variances[0] + variances[1]) / 2, rtol=1e-4, atol=1e-5
    )


def test_a_block_of_batch_instance_norm_beside_batch_norm_is_taken_again_too() -> None:
    network = random_network(dataclasses.replace(tiny_config("batch"), full_norm="batch-instance"))
    assert network.full is not None
    seen: list[torch.Tensor] = []
    network.full.norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].double()))
    reestimate(network, [_case(0), _case(1)], PLACEMENT)
    wanted = torch.stack([x.mean(dim=(0, 2, 3, 4)) for x in seen]).mean(dim=0)
    torch.testing.assert_close(network.full.norm.running_mean.double(), wanted, rtol=1e-4, atol=1e-5)
    assert not network.full.norm.training


def test_statistics_of_a_whole_brain_are_exact() -> None:
    network = random_network(tiny_config("batch", "none"))
    placement = dataclasses.replace(PLACEMENT, dtype=torch.bfloat16)  # of training; it is used in float32
    array = (torch.randn(4, 96, 128, 96, generator=torch.Generator().manual_seed(0)) + 3).half()
    case = TrainingCase(name="Large", array=array, labels=torch.zeros(96, 128, 96, dtype=torch.uint8), voxels={})
    placement.put(network)
    reestimate(network, [case], placement)
    with torch.no_grad():
        seen = network.encoder[0].conv1(array.float()[None].contiguous()).double()
    wanted = seen.var(dim=(0, 2, 3, 4))
    torch.testing.assert_close(network.encoder[0].norm1.running_var.double(), wanted, rtol=1e-5, atol=0)
    assert network.encoder[0].conv1.weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_weights_mode_and_momentum_stay() -> None:
    network = random_network(tiny_config("batch"))
    before = {name: value.clone() for name, value in network.named_parameters()}
    reestimate(network, [_case(0)], PLACEMENT)
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
    assert not any(module.training for module in network.modules())
    assert network.encoder[0].norm1.momentum == 0.1
