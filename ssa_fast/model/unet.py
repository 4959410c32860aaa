"""The 3D U-Net, both presets, in one class.

Source: Çiçek et al., MICCAI 2016; the shape of `reference` is the original project's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ssa_fast.model.spec import FULL_RESOLUTION_CHANNELS, NORM_GROUPS, UNetConfig

__all__ = ["UNet", "fold_batch_norm"]


class UNet(nn.Module):
    """Logits of a batch: (N, C, X, Y, Z) in, (N, K, X, Y, Z) out; edges are multiples of `config.divisor`.

    `decoded` and `logits_of` are its two halves, for what learns from coarser levels too.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.recomputed_levels = 0  # finest levels whose activations are made again for the gradient, not kept
        channels, norm = config.channels, config.norm
        inputs = config.modalities
        self.stem: nn.Module | None = None
        if config.stem == "half":
            self.stem = nn.Conv3d(inputs, channels[0], kernel_size=4, stride=2, padding=1)
            inputs = channels[0]
        self.encoder = nn.ModuleList()
        for outputs in channels:
            self.encoder.append(DoubleConv(inputs, outputs, norm))
            inputs = outputs
        # place in both lists = level, 0 the finest
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(coarse, fine, kernel_size=2, stride=2) for fine, coarse in pairwise(channels)
        )
        self.decoder = nn.ModuleList(DoubleConv(2 * fine, fine, norm) for fine in channels[:-1])
        self.full: FullResolution | None = None
        head_inputs = channels[0]
        if config.stem == "half":
            self.full = FullResolution(channels[0], config.modalities, norm)
            head_inputs = FULL_RESOLUTION_CHANNELS
        self.head = nn.Conv3d(head_inputs, config.classes, kernel_size=1)

    def forward(self, windows: Tensor) -> Tensor:
        """Logits (N, K, X, Y, Z) of windows (N, C, X, Y, Z)."""
        return self.logits_of(self.decoded(windows)[0], windows)

    def decoded(self, windows: Tensor) -> list[Tensor]:
        """What the decoder gives at each of its levels, the finest first: (N, channels[level], X/scale, ...)."""
        x = windows if self.stem is None else self.stem(windows)  # (N, C, X, Y, Z)
        skips = []
        for level in range(len(self.encoder)):
            x = self._run(level, self._encode, x)  # (N, channels[level], X/2^level, ...)
            skips.append(x)
        levels = []
        for level in reversed(range(len(self.decoder))):
            x = self._decode(level, skips[level], x)
            levels.append(x)
        return levels[::-1]

    def logits_of(self, finest: Tensor, windows: Tensor) -> Tensor:
        """Logits (N, K, X, Y, Z) from the decoder's finest level."""
        x = finest if self.full is None else self.full(finest, windows)
        logits: Tensor = self.head(x)  # (N, K, X, Y, Z)
        return logits

    def _encode(self, level: int, x: Tensor) -> Tensor:
        y: Tensor = self.encoder[level](x if level == 0 else _pool(x))
        return y

    def _decode(self, level: int, skip: Tensor, x: Tensor) -> Tensor:
        if level > 0 or self.full is not None:
            return self._run(level, self._join_and_convolve, skip, x)
        # The last block's gradient is the first, at the peak, where its second half is alive whether it was kept or
        # made again: it is kept, which costs no time, and the first half is made again after it has gone.
        return self._block(level).second(self._run(level, self._join, skip, x))

    def _join(self, level: int, skip: Tensor, x: Tensor) -> Tensor:
        return self._block(level).first(torch.cat([skip, self.up[level](x)], dim=1))

    def _join_and_convolve(self, level: int, skip: Tensor, x: Tensor) -> Tensor:
        return self._block(level).second(self._join(level, skip, x))

    def _block(self, level: int) -> DoubleConv:
        block = self.decoder[level]
        assert isinstance(block, DoubleConv)
        return block

    def _run(self, level: int, part: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """The part's output; where its activations are to be made again, only its inputs are kept for the gradient."""
        if level >= self.recomputed_levels or not torch.is_grad_enabled():
            return part(level, *inputs)
        if torch.compiler.is_compiling():  # whose graph has the statistics' update once, whatever it recomputes
            return checkpoint(part, level, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
        return checkpoint(  # type: ignore[no-any-return]
            part,
            level,
            *inputs,
            use_reentrant=False,
            preserve_rng_state=False,  # nothing here is random
            context_fn=self._first_and_second_run,
        )

    def _first_and_second_run(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What surrounds a block's run, and the run that makes its activations again."""
        return nullcontext(), _statistics_stay(self)


@contextmanager
def _statistics_stay(network: nn.Module) -> Iterator[None]:
    """While a batch is seen for the second time, batch norm's running statistics do not count it again."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


class DoubleConv(nn.Module):
    """Two 3x3x3 convolutions, each with norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.conv1 = _conv3(inputs, outputs, norm)
        self.norm1 = _norm(outputs, norm)
        self.conv2 = _conv3(outputs, outputs, norm)
        self.norm2 = _norm(outputs, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))

    def first(self, x: Tensor) -> Tensor:
        """The first convolution with its norm and ReLU."""
        return functional.relu(self.norm1(self.conv1(x)), inplace=True)

    def second(self, x: Tensor) -> Tensor:
        """The second one, of what the first gave."""
        return functional.relu(self.norm2(self.conv2(x)), inplace=True)


class FullResolution(nn.Module):
    """From half resolution back to the input's: up, joined with the input itself, one convolution."""

    def __init__(self, inputs: int, modalities: int, norm: str) -> None:
        super().__init__()
        outputs = FULL_RESOLUTION_CHANNELS
        self.up = nn.ConvTranspose3d(inputs, outputs, kernel_size=2, stride=2)
        self.conv = _conv3(outputs + modalities, outputs, norm)
        self.norm = _norm(outputs, norm)

    def forward(self, x: Tensor, windows: Tensor) -> Tensor:
        joined = torch.cat([self.up(x), windows.to(x.dtype)], dim=1)
        return functional.relu(self.norm(self.conv(joined)), inplace=True)


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
        if torch.compiler.is_exporting():
            return functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        if x.device.type == "cpu" and x.dtype == torch.float32 and not self.training:
            return self._over_many_voxels(x)
        alone = [
            functional.batch_norm(window, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for window in x.split(1)
        ]
        return alone[0] if len(alone) == 1 else torch.cat(alone)

    def _over_many_voxels(self, x: Tensor) -> Tensor:
        """The norm of (N, C, X, Y, Z) from the sums of its rows, added up in float64."""
        rows = x.permute(0, 2, 3, 4, 1).flatten(1, 2)  # (N, XY, Z, C)
        voxels = rows.shape[1] * rows.shape[2]
        mean = rows.sum(2).double().sum(1) / voxels  # (N, C)
        mean_square = torch.linalg.vector_norm(rows, dim=2).double().square().sum(1) / voxels
        scale = self.weight * torch.rsqrt((mean_square - mean.square()).clamp_min(0) + self.eps)
        shift = self.bias - mean * scale
        per_channel = (*mean.shape, 1, 1, 1)
        return torch.addcmul(shift.float().view(per_channel), x, scale.float().view(per_channel))


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
        if torch.compiler.is_exporting():
            return functional.group_norm(x, NORM_GROUPS, eps=self.eps) * self.weight + self.bias
        return functional.group_norm(x, NORM_GROUPS, self.weight.flatten(), self.bias.flatten(), self.eps)


def fold_batch_norm(network: UNet) -> UNet:
    """The same function without batch norm: each one becomes the scale and bias of the convolution before it.

    The result is in evaluation mode and shares no memory with `network`. A network with another
    norm comes back as a copy, for there is nothing to fold.
    """
    config = network.config
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    if config.norm == "batch":
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm3d):
                _fold_one(state, name, module.eps)
        config = UNetConfig(
            channels=config.channels,
            norm="none",
            stem=config.stem,
            modalities=config.modalities,
            classes=config.classes,
        )
    folded = UNet(config)
    folded.load_state_dict(state)
    return folded.eval()


def _fold_one(state: dict[str, Tensor], norm: str, eps: float) -> None:
    conv = norm.replace("norm", "conv")
    mean, variance = state.pop(f"{norm}.running_mean").double(), state.pop(f"{norm}.running_var").double()
    scale = state.pop(f"{norm}.weight").double() / torch.sqrt(variance + eps)
    state.pop(f"{norm}.num_batches_tracked")
    weight = state[f"{conv}.weight"]
    state[f"{conv}.weight"] = (weight.double() * scale.view(-1, 1, 1, 1, 1)).to(weight.dtype)
    state[f"{conv}.bias"] = (state.pop(f"{norm}.bias").double() - mean * scale).to(weight.dtype)


def _conv3(inputs: int, outputs: int, norm: str) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, kernel_size=3, padding=1, bias=norm == "none")


def _pool(x: Tensor) -> Tensor:
    """The largest of each 2x2x2 voxels, in the precision of `x`.

    Autocast on a CPU would copy to float32 first: the same values in three times the time, and the gradient keeps the
    copy.
    """
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return functional.max_pool3d(x, 2)
    return functional.max_pool3d(x, 2)


def _norm(channels: int, norm: str) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm3d(channels)
    if norm == "group":
        return GroupNorm(channels)
    return InstanceNorm(channels) if norm == "instance" else nn.Identity()
