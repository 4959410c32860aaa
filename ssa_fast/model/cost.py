"""What a network costs: parameters, arithmetic, memory, reach. All of it counted from its shape, no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ssa_fast.model.network import FULL_RESOLUTION_CHANNELS, Convolution, Norm, UNetConfig, block_units

__all__ = ["Layer", "gflop", "layers", "live_values", "parameter_count", "receptive_field"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One convolution as arithmetic sees it."""

    name: str
    inputs: int
    outputs: int
    taps: int  # multiplications an output voxel and input channel
    scale: int  # its output has 1/scale of the network input's edge
    input_scale: int  # and what it reads 1/input_scale
    has_bias: bool
    has_norm: bool
    beside: int = 0  # channels, at its output's scale, that wait for the end of its unit: the shortcut

    @property
    def parameters(self) -> int:
        """Weights, bias, and the norm's two values a channel."""
        weights = self.inputs * self.outputs * self.kernel_voxels
        return weights + self.outputs * (self.has_bias + 2 * self.has_norm)

    @property
    def is_transposed(self) -> bool:
        """Whether it is a transposed convolution, whose stride is its kernel's edge."""
        return self.input_scale > self.scale

    @property
    def kernel_voxels(self) -> int:
        """Voxels of the kernel: a transposed convolution has one tap for each."""
        return (self.input_scale // self.scale) ** 3 if self.is_transposed else self.taps


def layers(config: UNetConfig) -> Iterator[Layer]:
    """Every convolution of the network, in the order in which it runs."""
    channels, stride, inputs = config.channels, config.stride, config.modalities
    if stride > 1:  # its kernel is twice the stride: neighbours overlap by half
        stem = Convolution(edge=2 * stride, inputs=inputs, outputs=channels[0])
        yield _layer("stem", stem, stride, input_scale=1)
        inputs = channels[0]
    for level, outputs in enumerate(channels):
        yield from _block_layers(config, f"encoder.{level}", (inputs, outputs, config.depths[level]), stride * 2**level)
        inputs = outputs
    for level in reversed(range(len(channels) - 1)):
        outputs, scale = channels[level], stride * 2**level
        up = Convolution(edge=1, inputs=inputs, outputs=outputs)
        yield _layer(f"up.{level}", up, scale, input_scale=2 * scale)
        shape = 2 * outputs, outputs, config.decoder_depths[level]
        yield from _block_layers(config, f"decoder.{level}", shape, scale)
        inputs = outputs
    if config.goes_up_to_a_block:
        outputs = FULL_RESOLUTION_CHANNELS
        yield _layer("full.up", Convolution(edge=1, inputs=inputs, outputs=outputs), 1, input_scale=stride)
        joined = Convolution(edge=3, inputs=outputs + config.modalities, outputs=outputs)
        yield _layer("full.conv", joined, 1, norm=config.norm_of_full_block)
        inputs = outputs
    head = Convolution(edge=1, inputs=inputs, outputs=config.classes)
    yield _layer("head", head, 1, input_scale=1 if config.has_full_block else stride)


def _block_layers(config: UNetConfig, name: str, shape: tuple[int, int, int], scale: int) -> Iterator[Layer]:
    """The layers of one block; `shape`: its inputs, its outputs, and how many 3x3x3 convolutions it has."""
    inputs, outputs, count = shape
    units = block_units(config.block, inputs, outputs, count)
    is_projected = config.block != "double" and inputs != outputs
    if is_projected:
        shortcut = Convolution(edge=1, inputs=inputs, outputs=outputs)
        yield _layer(f"{name}.shortcut_conv", shortcut, scale, norm=config.norm)
    number = 0
    for place, unit in enumerate(units):
        for within, convolution in enumerate(unit):
            number += 1
            waits = config.block != "double" and (within > 0 or (place == 0 and is_projected))
            beside = outputs if waits else 0  # a unit's first convolution reads what waits, unless that was projected
            yield _layer(f"{name}.conv{number}", convolution, scale, norm=config.norm, beside=beside)


def _layer(
    name: str,
    convolution: Convolution,
    scale: int,
    *,
    input_scale: int | None = None,
    norm: Norm | None = None,
    beside: int = 0,
) -> Layer:
    """`norm`: what follows it; None: it has a bias instead and always."""
    return Layer(
        name=name,
        inputs=convolution.inputs,
        outputs=convolution.outputs,
        taps=convolution.edge**3,
        scale=scale,
        input_scale=input_scale or scale,
        has_bias=norm in (None, "none"),
        has_norm=norm not in (None, "none"),
        beside=beside,
    )


def parameter_count(config: UNetConfig) -> int:
    """Trainable values: 22,580,964 for `reference`, 3,176,604 for `lite`."""
    return sum(layer.parameters for layer in layers(config))


def gflop(config: UNetConfig, shape: Sequence[int]) -> float:
    """Billions of multiplications and additions in the convolutions of one (X, Y, Z) input.

    962.5 for `reference` and 85.9 for `lite` at 128^3.
    """
    voxels = math.prod(shape)
    work = sum(2 * layer.inputs * layer.outputs * layer.taps * voxels / layer.scale**3 for layer in layers(config))
    return work / 1e9


def receptive_field(config: UNetConfig) -> int:
    """Voxels of the input along an axis, at most, that an output voxel is computed from; a norm's statistics left out.

    204 for `reference`, 202 for `lite`.
    """
    return max(_seen(config, place) for place in range(config.divisor))


def _seen(config: UNetConfig, place: int) -> int:
    """How many voxels the output at `place` is computed from: the way back through the network, as an interval."""
    low, high, stride = place, place, config.stride
    rim = int(config.goes_up_to_a_block)  # of the full resolution's convolution
    low, high = (low - rim) // stride, (high + rim) // stride  # and up to it
    for reach in config.decoder_depths:
        low, high = (low - reach) // 2, (high + reach) // 2  # a level's convolutions, and up to them
    for reach in reversed(config.depths[1:]):
        low, high = 2 * (low - reach), 2 * (high + reach) + 1  # a level's convolutions, and the pooling before them
    low, high = low - config.depths[0], high + config.depths[0]
    if stride > 1:
        low, high = stride * low - stride // 2, stride * high - stride // 2 + 2 * stride - 1
    return high - low + 1


def live_values(config: UNetConfig, *, has_copies: bool = True) -> float:
    """Values alive at once, at most, for each voxel of the input: what waits, a layer's input and output.

    The input, the skips and a shortcut wait. A norm needs its own copy beside the convolution's output, or the
    convolution one of its input, so the larger of the two counts twice where there is a norm, and in a block at full
    resolution, whose input is joined, unless the engine makes no copies. 36 for `lite` (24 without copies), whose last
    convolution decides, and 132 for `reference` with its norms folded.
    """
    waiting: dict[str, float] = {"input": float(config.modalities)}
    peak = 0.0
    for name, block in groupby(layers(config), key=lambda layer: layer.name.rpartition(".")[0]):
        part, _, level = name.partition(".")
        for layer in block:
            inner = layer.inputs / layer.input_scale**3
            outer = layer.outputs / layer.scale**3
            beside = layer.beside / layer.scale**3
            is_copied = layer.has_norm or part == "full"
            copy = max(inner, outer) if is_copied and has_copies else 0.0
            peak = max(peak, sum(waiting.values()) + inner + outer + beside + copy)
            if part == "decoder":
                waiting.pop(level, None)  # joined into what the block's first layer reads
        if part == "encoder":
            waiting[level] = outer
    return peak
