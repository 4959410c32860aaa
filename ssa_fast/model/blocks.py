"""What the levels of the U-Net are made of: blocks of convolutions, and norms that export as they compute."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssa_fast.model.network import FULL_RESOLUTION_CHANNELS, NORM_GROUPS, UNetConfig, block_units

__all__ = [
    "BatchInstanceNorm",
    "ConvBlock",
    "FullResolution",
    "GhostBatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "Remembering",
    "pooled",
]


class ConvBlock(nn.Module):
    """A level's convolutions, each with norm and ReLU; with shortcuts, what a unit was given is added before its last.

    They are `conv1`, `norm1`, `conv2`, ... whatever the block; where a shortcut changes the channels, it has
    `shortcut_conv` and `shortcut_norm` of its own.
    """

    def __init__(self, inputs: int, outputs: int, count: int, config: UNetConfig) -> None:
        super().__init__()
        self.has_shortcuts = config.block != "double"
        units = block_units(config.block, inputs, outputs, count)
        self.unit_lengths = [len(unit) for unit in units]
        self.is_projected = self.has_shortcuts and inputs != outputs
        if self.is_projected:
            self.shortcut_conv = _conv(1, inputs, outputs, config.norm)
            self.shortcut_norm = _norm(outputs, config.norm)
        for number, convolution in enumerate((one for unit in units for one in unit), start=1):
            conv = _conv(convolution.edge, convolution.inputs, convolution.outputs, config.norm)
            setattr(self, f"conv{number}", conv)
            setattr(self, f"norm{number}", _norm(convolution.outputs, config.norm))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, X, Y, Z) in, (N, outputs, X, Y, Z) out."""
        if not self.has_shortcuts:
            return self.rest(self.first(x))
        number = 0
        for place, length in enumerate(self.unit_lengths):
            shortcut = self.shortcut_norm(self.shortcut_conv(x)) if self.is_projected and place == 0 else x
            for _ in range(length - 1):
                number += 1
                x = functional.relu(self._normalized(number, x), inplace=True)
            number += 1
            x = functional.relu(self._normalized(number, x).add_(shortcut), inplace=True)
        return x

    def first(self, x: Tensor) -> Tensor:
        """The first convolution with its norm and ReLU, of a block without shortcuts."""
        return functional.relu(self._normalized(1, x), inplace=True)

    def rest(self, x: Tensor) -> Tensor:
        """The others, of what the first gave."""
        for number in range(2, 1 + sum(self.unit_lengths)):
            x = functional.relu(self._normalized(number, x), inplace=True)
        return x

    def _normalized(self, number: int, x: Tensor) -> Tensor:
        y: Tensor = getattr(self, f"norm{number}")(getattr(self, f"conv{number}")(x))
        return y


class FullResolution(nn.Module):
    """From the stem's resolution back to the input's: up, joined with the input itself, one convolution."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        outputs, stride = FULL_RESOLUTION_CHANNELS, config.stride
        self.up = nn.ConvTranspose3d(config.channels[0], outputs, kernel_size=stride, stride=stride)
        self.conv = _conv(3, outputs + config.modalities, outputs, config.norm_of_full_block)
        self.norm = _norm(outputs, config.norm_of_full_block)

    def forward(self, x: Tensor, windows: Tensor) -> Tensor:
        """(N, 8, X, Y, Z) of the windows (N, C, X, Y, Z) and the decoder's finest level."""
        x = self.conv(torch.cat([self.up(x), windows.to(x.dtype)], dim=1))  # the joined copy goes after it
        return functional.relu(self.norm(x), inplace=True)


class InstanceNorm(nn.Module):
    """Instance norm with weight and bias that keeps the channels-last layout.

    `torch.nn.InstanceNorm3d` has no channels-last kernel and copies. With one window, instance norm is batch norm over
    that window, which has one; but on a CPU it adds up all voxels in one float32: 0.029 and 0.14 off (two threads and
    one) in the logits of a whole brain. Training patches are small enough for that, float32 inference is not.
    """

    eps = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, X, Y, Z), normalized."""
        return _each_alone(x, self.weight, self.bias, self.eps, is_training=self.training)


class GhostBatchNorm(nn.Module):
    """Batch norm whose batches in training are single windows, so neither batch nor processes change what is learned.

    In training it is instance norm, and it remembers the statistics: those are what it normalizes by in use. Source:
    Hoffer, Hubara and Soudry, "Train longer, generalize better", NeurIPS 2017, with ghost batches of one.
    """

    eps = 1e-5
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.momentum = 0.1  # as of torch's batch norm

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, X, Y, Z), normalized."""
        return self._each_alone_and_remembered(x) if self.training else self._in_use(x)

    def _in_use(self, x: Tensor) -> Tensor:
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=False,
            eps=self.eps,
        )

    def _each_alone_and_remembered(self, x: Tensor) -> Tensor:
        alone, means, variances = [], [], []
        for window in x.split(1):
            mean, variance = torch.zeros_like(self.running_mean), torch.ones_like(self.running_var)
            normalized = functional.batch_norm(  # whose running statistics, with a momentum of 1, are the window's own
                window, mean, variance, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps
            )
            alone.append(normalized)
            means.append(mean)
            variances.append(variance)
        with torch.no_grad():
            self.running_mean.lerp_(torch.stack(means).mean(0), self.momentum)
            self.running_var.lerp_(torch.stack(variances).mean(0), self.momentum)
        return alone[0] if len(alone) == 1 else torch.cat(alone)


Remembering: TypeAlias = nn.BatchNorm3d | GhostBatchNorm
"""Norms with running statistics."""


class BatchInstanceNorm(GhostBatchNorm):
    """The mean of batch norm and instance norm: of what a voxel is in its own image, and of what it would be in others.

    Of one window of training they are the same, so it is trained as `GhostBatchNorm` is.
    Source: Nam and Kim, "Batch-Instance Normalization", NeurIPS 2018, with a gate of a half.
    """

    def _in_use(self, x: Tensor) -> Tensor:
        if _adds_up_in_float64(x, is_training=False):
            mean, variance = _statistics(x)
            spreads = [self.weight / torch.sqrt(one + self.eps) for one in (variance, self.running_var)]
            shift = self.bias - (mean * spreads[0] + self.running_mean * spreads[1]) / 2
            return _scaled(x, (spreads[0] + spreads[1]) / 2, shift)
        together = super()._in_use(x)
        return together.add_(_each_alone(x, self.weight, self.bias, self.eps, is_training=False)).mul_(0.5)


class GroupNorm(nn.Module):
    """Group norm whose weight and bias have the shape in which they are used, (1, C, 1, 1, 1).

    So they keep their names in an exported graph, where torch's own are reshaped, and get others.
    """

    eps = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, X, Y, Z), normalized."""
        if torch.compiler.is_exporting():
            return functional.group_norm(x, NORM_GROUPS, eps=self.eps) * self.weight + self.bias
        return functional.group_norm(x, NORM_GROUPS, self.weight.flatten(), self.bias.flatten(), self.eps)


def pooled(x: Tensor) -> Tensor:
    """The largest of each 2x2x2 voxels, in the precision of `x`.

    Autocast on a CPU would copy to float32 first: the same values in three times the time, and the gradient keeps the
    copy.
    """
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return functional.max_pool3d(x, 2)
    return functional.max_pool3d(x, 2)


def _each_alone(x: Tensor, weight: Tensor, bias: Tensor, eps: float, *, is_training: bool) -> Tensor:
    """Instance norm of (N, C, X, Y, Z): see `InstanceNorm`."""
    if torch.compiler.is_exporting():
        return functional.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if _adds_up_in_float64(x, is_training=is_training):
        mean, variance = _statistics(x)
        scale = weight * torch.rsqrt(variance + eps)
        return _scaled(x, scale, bias - mean * scale)
    alone = [functional.batch_norm(window, None, None, weight, bias, training=True, eps=eps) for window in x.split(1)]
    return alone[0] if len(alone) == 1 else torch.cat(alone)


def _adds_up_in_float64(x: Tensor, *, is_training: bool) -> bool:
    """Whether the statistics of `x` are taken from sums of its rows, and not by torch's kernel."""
    is_float32_on_cpu = x.device.type == "cpu" and x.dtype == torch.float32
    return is_float32_on_cpu and not is_training and not torch.compiler.is_exporting()


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (N, C) of (N, C, X, Y, Z) from the sums of its rows, added up in float64."""
    rows = x.permute(0, 2, 3, 4, 1).flatten(1, 2)  # (N, XY, Z, C)
    voxels = rows.shape[1] * rows.shape[2]
    mean = rows.sum(2).double().sum(1) / voxels
    mean_square = torch.linalg.vector_norm(rows, dim=2).double().square().sum(1) / voxels
    return mean, (mean_square - mean.square()).clamp_min(0)


def _scaled(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """(N, C, X, Y, Z) times a scale (N, C), and a shift added."""
    per_channel = (*scale.shape, 1, 1, 1)
    return torch.addcmul(shift.float().view(per_channel), x, scale.float().view(per_channel))


def _conv(edge: int, inputs: int, outputs: int, norm: str) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, kernel_size=edge, padding=edge // 2, bias=norm == "none")


def _norm(channels: int, norm: str) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm3d(channels)
    if norm == "group":
        return GroupNorm(channels)
    if norm == "ghost-batch":
        return GhostBatchNorm(channels)
    if norm == "batch-instance":
        return BatchInstanceNorm(channels)
    return InstanceNorm(channels) if norm == "instance" else nn.Identity()
