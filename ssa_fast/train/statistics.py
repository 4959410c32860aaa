"""Batch norm's statistics, taken again from what the network will be given: whole brains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ssa_fast.model.blocks import GhostBatchNorm, Remembering
from ssa_fast.model.unet import UNet
from ssa_fast.train.dataset import TrainingCase
from ssa_fast.train.group import Group
from ssa_fast.train.placement import Placement
from ssa_fast.volume.geometry import pad_to_multiple

__all__ = ["agree_on_statistics", "reestimate", "take_mean_statistics"]


@torch.no_grad()
def agree_on_statistics(network: UNet, group: Group) -> None:
    """What ghost batch norm remembers is of the windows of every process; DDP would hand on those of the first."""
    for module in network.modules() if group.size > 1 else ():
        if isinstance(module, GhostBatchNorm):
            for statistics in module.buffers():
                statistics.copy_(group.mean(statistics))


@torch.no_grad()
def reestimate(network: UNet, cases: Sequence[TrainingCase], placement: Placement) -> None:
    """Set the running statistics of every batch norm to their mean over whole brains, one a case, in place.

    Padded and in float32, as it is used, and contiguous: in channels-last, torch 2.13 adds up a whole brain on a CPU in
    one float32, 0.2 % off in the variance. Those that training leaves are a running mean over the last patches, seen by
    weights that have changed since. Phantoms are left out.
    Source: `update_bn` of stochastic weight averaging (Izmailov et al., UAI 2018).
    """
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    take_mean_statistics(network, (_padded(case, network, placement) for case in cases if not case.is_phantom))
    placement.put(network)


def _padded(case: TrainingCase, network: UNet, placement: Placement) -> Tensor:
    """The whole brain of a case (1, C, X, Y, Z), on the device."""
    padded, _ = pad_to_multiple(case.array.numpy(), network.config.divisor)
    return placement.send(torch.from_numpy(padded)[None])


@torch.no_grad()
def take_mean_statistics(network: UNet, windows: Iterable[Tensor]) -> None:
    """Set the running statistics of every norm that has any to their mean over windows (1, C, X, Y, Z), in place."""
    norms = [module for module in network.modules() if isinstance(module, Remembering)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        if isinstance(norm, nn.BatchNorm3d):
            norm.reset_running_stats()
        norm.train()
    for count, window in enumerate(windows, start=1):
        for norm in norms:
            norm.momentum = 1 / count  # a plain mean
        network(window)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.eval()
