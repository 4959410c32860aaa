"""The 3D U-Net, every member of the family that a `UNetConfig` tells, in one class.

Source: Çiçek et al., MICCAI 2016; the shape of `reference` is the original project's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssa_fast.model.blocks import BatchInstanceNorm, ConvBlock, FullResolution, Remembering, pooled
from ssa_fast.model.network import FULL_RESOLUTION_CHANNELS, UNetConfig

__all__ = ["UNet", "fold_batch_norm", "fold_norm"]


class UNet(nn.Module):
    """Logits of a batch: (N, C, X, Y, Z) in, (N, K, X, Y, Z) out; edges are multiples of `config.divisor`.

    `decoded` and `logits_of` are its two halves, for what learns from coarser levels too.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.recomputed_levels = 0  # finest levels whose activations are made again for the gradient, not kept
        channels, inputs, stride = config.channels, config.modalities, config.stride
        self.stem: nn.Module | None = None
        if stride > 1:  # the kernel is twice the stride: neighbours overlap by half
            self.stem = nn.Conv3d(inputs, channels[0], kernel_size=2 * stride, stride=stride, padding=stride // 2)
            inputs = channels[0]
        self.encoder = nn.ModuleList()
        for outputs, count in zip(channels, config.depths, strict=True):
            self.encoder.append(ConvBlock(inputs, outputs, count, config))
            inputs = outputs
        # place in both lists = level, 0 the finest
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(coarse, fine, kernel_size=2, stride=2) for fine, coarse in pairwise(channels)
        )
        self.decoder = nn.ModuleList(
            ConvBlock(2 * fine, fine, count, config)
            for fine, count in zip(channels[:-1], config.decoder_depths, strict=True)
        )
        self.full: FullResolution | None = None
        self.head: nn.Module
        if config.goes_up_to_a_block:
            self.full = FullResolution(config)
            self.head = nn.Conv3d(FULL_RESOLUTION_CHANNELS, config.classes, kernel_size=1)
        elif stride > 1:
            self.head = nn.ConvTranspose3d(channels[0], config.classes, kernel_size=stride, stride=stride)
        else:
            self.head = nn.Conv3d(channels[0], config.classes, kernel_size=1)

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
        y: Tensor = self.encoder[level](x if level == 0 else pooled(x))
        return y

    def _decode(self, level: int, skip: Tensor, x: Tensor) -> Tensor:
        block = self._block(level)
        if level > 0 or self.full is not None or block.has_shortcuts:
            return self._run(level, self._join_and_convolve, skip, x)
        # The last block's gradient is the first, at the peak, where all but its first convolution is alive whether it
        # was kept or made again: that is kept, which costs no time, and the first is made again after it has gone.
        return block.rest(self._run(level, self._join_and_begin, skip, x))

    def _join_and_begin(self, level: int, skip: Tensor, x: Tensor) -> Tensor:
        return self._block(level).first(torch.cat([skip, self.up[level](x)], dim=1))

    def _join_and_convolve(self, level: int, skip: Tensor, x: Tensor) -> Tensor:
        block = self._block(level)
        if not block.has_shortcuts:
            return block.rest(self._join_and_begin(level, skip, x))  # the joined copy goes after the first convolution
        y: Tensor = block(torch.cat([skip, self.up[level](x)], dim=1))
        return y

    def _block(self, level: int) -> ConvBlock:
        block = self.decoder[level]
        assert isinstance(block, ConvBlock)
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
    norms = [module for module in network.modules() if isinstance(module, Remembering)]
    before = [(norm.momentum, getattr(norm, "num_batches_tracked", None)) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def fold_batch_norm(network: UNet) -> UNet:
    """The same function without norms of batches: each becomes the scale and bias of the convolution before it.

    The result is in evaluation mode and shares no memory with `network`. Other norms stay as they are.
    """
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    for name, module in network.named_modules():
        if isinstance(module, Remembering) and not isinstance(module, BatchInstanceNorm):
            fold_norm(state, name, module.eps)
    folded = UNet(network.config.folded)
    folded.load_state_dict(state)
    return folded.eval()


def fold_norm(state: dict[str, Tensor], norm: str, eps: float) -> None:
    """Put a norm's running statistics, weight and bias into the convolution before it, in a network's state."""
    conv = norm.replace("norm", "conv")
    mean, variance = state.pop(f"{norm}.running_mean").double(), state.pop(f"{norm}.running_var").double()
    scale = state.pop(f"{norm}.weight").double() / torch.sqrt(variance + eps)
    state.pop(f"{norm}.num_batches_tracked", None)  # of batch norm alone
    weight = state[f"{conv}.weight"]
    state[f"{conv}.weight"] = (weight.double() * scale.view(-1, 1, 1, 1, 1)).to(weight.dtype)
    state[f"{conv}.bias"] = (state.pop(f"{norm}.bias").double() - mean * scale).to(weight.dtype)
