"""Deep supervision: coarser levels of the decoder learn by heads of their own, which no checkpoint's user sees.

Source: Isensee et al., Nature Methods 2021 (nnU-Net): the loss at each level, halved from one to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssa_fast.model.unet import UNet
from ssa_fast.train.config import LossConfig
from ssa_fast.train.losses import segmentation_loss

__all__ = ["Supervised", "coarse_heads", "supervised_loss"]


class Supervised(nn.Module):
    """A network and its coarse heads, as one module to train: logits of every supervised scale, the finest first."""

    def __init__(self, network: UNet, heads: nn.ModuleList) -> None:
        super().__init__()
        self.network, self.heads = network, heads

    def forward(self, windows: Tensor) -> list[Tensor]:
        """(N, K, X, Y, Z) of the windows themselves, then of each supervised level, ever coarser."""
        levels = self.network.decoded(windows)
        first = _first_level(self.network)
        coarse = [head(levels[first + place]) for place, head in enumerate(self.heads)]
        return [self.network.logits_of(levels[0], windows), *coarse]


def coarse_heads(network: UNet, count: int) -> nn.ModuleList:
    """One 1x1x1 convolution a supervised level, from the finest on that is coarser than the input."""
    first, config = _first_level(network), network.config
    return nn.ModuleList(
        nn.Conv3d(channels, config.classes, kernel_size=1) for channels in config.channels[first : first + count]
    )


def supervised_loss(logits: Sequence[Tensor], labels: Tensor, config: LossConfig) -> Tensor:
    """The loss of all scales: weights 1, 1/2, 1/4, ..., divided by their sum.

    Logits are (N, K, X, Y, Z), then coarser; labels (N, X, Y, Z), of which a scale at half the resolution sees every
    second voxel, at a quarter every fourth, ...
    """
    weights = [0.5**place for place in range(len(logits))]
    losses = []
    for place, scale in enumerate(logits):
        step = labels.shape[-1] // scale.shape[-1]
        kept = slice(step // 2, None, step)
        losses.append(weights[place] * segmentation_loss(scale, labels[:, kept, kept, kept], config))
    return torch.stack(losses).sum() / sum(weights)


def _first_level(network: UNet) -> int:
    """The finest level that is coarser than the input: behind a stem the first."""
    return 0 if network.config.stride > 1 else 1
