"""What training needs is what it takes, and a budget is met or refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ssa_fast.errors import BudgetError
from ssa_fast.model.spec import PRESETS, UNetConfig
from ssa_fast.model.unet import UNet
from ssa_fast.train.config import LossConfig, TrainConfig
from ssa_fast.train.losses import segmentation_loss
from ssa_fast.train.memory import fit_memory, planned_memory, training_memory

SMALL = {
    "plain": UNetConfig(channels=(8, 16, 32), norm="batch"),
    "half": UNetConfig(channels=(8, 16, 32), norm="instance", stem="half"),
}


def _kept_bytes(config: UNetConfig, patch: tuple[int, int, int], dtype: torch.dtype, recomputed_levels: int) -> int:
    """Bytes of all storages that autograd holds after a forward pass and its loss, weights left out."""
    network = UNet(config).to(memory_format=torch.channels_last_3d).train()
    network.recomputed_levels = recomputed_levels
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    storages: dict[int, int] = {}
    held = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor)  # so that no address comes twice
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    windows = torch.randn(1, 4, *patch).to(memory_format=torch.channels_last_3d)
    labels = torch.randint(0, 4, (1, *patch))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = network(windows)
        segmentation_loss(logits, labels, LossConfig())
    return sum(storages.values())


@pytest.mark.parametrize("recomputed_levels", [0, 1, 3])
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
def test_what_is_kept_for_the_gradient_is_what_autograd_holds(
    dtype: torch.dtype, name: str, recomputed_levels: int
) -> None:
    patch = (48, 32, 64)
    planned = training_memory(
        SMALL[name], patch, batch=1, value_bytes=dtype.itemsize, recomputed_levels=recomputed_levels
    )
    measured = _kept_bytes(SMALL[name], patch, dtype, recomputed_levels)
    assert 0.95 * measured <= planned.kept <= 1.2 * measured


@pytest.mark.parametrize("name", SMALL)
def test_recomputing_changes_neither_gradients_nor_statistics(name: str) -> None:
    windows = torch.randn(1, 4, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    seen = []
    for levels in (0, 3):
        torch.manual_seed(0)
        network = UNet(SMALL[name]).train()
        network.recomputed_levels = levels
        network(windows).square().mean().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        seen.append({**gradients, **dict(network.named_buffers())})
    kept, recomputed = seen
    for place, tensor in kept.items():
        assert torch.equal(recomputed[place], tensor), place


def test_reference_at_128_fits_the_original_projects_memory_in_half_precision() -> None:
    memory = training_memory(PRESETS["reference"], (128, 128, 128), batch=1, value_bytes=2)
    assert memory.peak < 3.41e9


def test_levels_are_recomputed_where_that_makes_it_fit() -> None:
    config = TrainConfig(preset="reference", patch=(128, 128, 128))
    assert fit_memory(config, value_bytes=4, budget_bytes=10**10) == config
    fitted = fit_memory(config, value_bytes=4, budget_bytes=4_500_000_000)
    assert 0 < fitted.recomputed_levels < 5
    assert planned_memory(fitted, 4).peak <= 4_500_000_000
    assert dataclasses.replace(fitted, recomputed_levels=0) == config


def test_a_batch_is_split_before_it_is_refused() -> None:
    config = TrainConfig(batch=4, accumulate=1)
    one = planned_memory(dataclasses.replace(config, batch=1, recomputed_levels=4), 4).peak
    fitted = fit_memory(config, value_bytes=4, budget_bytes=one)
    assert (fitted.batch, fitted.accumulate, fitted.recomputed_levels) == (1, 4, 4)
    with pytest.raises(BudgetError, match="take a smaller patch or the 'lite' network"):
        fit_memory(config, value_bytes=4, budget_bytes=one - 1)
