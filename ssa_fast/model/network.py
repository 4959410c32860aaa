"""The shape of a 3D U-Net, and what it costs: parameters, arithmetic, memory, reach. All of it counted, no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeAlias

from ssa_fast.errors import ConfigError

__all__ = [
    "BOTTLENECK",
    "FULL_RESOLUTION_CHANNELS",
    "NORM_GROUPS",
    "PRESETS",
    "Block",
    "Convolution",
    "Layer",
    "Norm",
    "Stem",
    "UNetConfig",
    "block_units",
    "gflop",
    "layers",
    "live_values",
    "parameter_count",
    "receptive_field",
]

Stem: TypeAlias = Literal["none", "half", "quarter"]
Block: TypeAlias = Literal["double", "residual", "bottleneck"]
Norm: TypeAlias = Literal["batch", "instance", "group", "none"]

NORM_GROUPS = 8  # of channels that group norm takes together
FULL_RESOLUTION_CHANNELS = 8  # of the one block that a network behind a stem has at the input's resolution
BOTTLENECK = 2  # times as many channels outside a bottleneck as in it: the levels of small networks are narrow already
_CONVOLUTIONS = 2  # 3x3x3 ones a level, where nothing else is asked for
_STRIDES: Mapping[Stem, int] = {"none": 1, "half": 2, "quarter": 4}


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """The shape of a 3D U-Net: 3x3x3 convolutions a level, pooling down, transposed convolution up.

    A block is what a level does. "double": its convolutions one after the other, two if nothing else is asked for.
    "residual": what two of them were given is added to what they make. "bottleneck": each 3x3x3 one in half the
    channels, between two of 1x1x1, and what the three were given is added.
    Sources: Çiçek et al., MICCAI 2016; He et al., "Deep residual learning", CVPR 2016.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256, 512)  # a level, from the finest
    norm: Norm = "batch"  # "none": batch norm folded into biases
    stem: Stem = "none"  # "half", "quarter": the whole U-Net at that share of the input's resolution
    modalities: int = 4
    classes: int = 4
    block: Block = "double"
    convolutions: tuple[int, ...] = ()  # 3x3x3 ones of each level on the way down, from the finest; empty: two each
    decoder_convolutions: tuple[int, ...] = ()  # the same on the way up, which has a level less
    has_full_block: bool = True  # behind a stem: a block at the input's resolution; without, the head itself goes up

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or min(self.channels) < 1:
            raise ConfigError(f"channels need two levels or more, each of one or more, got {self.channels}")
        for name, counts, levels in (
            ("convolutions", self.convolutions, len(self.channels)),
            ("decoder_convolutions", self.decoder_convolutions, len(self.channels) - 1),
        ):
            if counts and (len(counts) != levels or min(counts) < 1):
                raise ConfigError(f"{name} need {levels} numbers of 1 or more for {levels} levels, got {counts}")
        widths = [count // (BOTTLENECK if self.block == "bottleneck" else 1) for count in self.channels]
        if self.block == "bottleneck" and any(count % BOTTLENECK for count in self.channels):
            raise ConfigError(f"bottlenecks need channels in multiples of {BOTTLENECK}, got {self.channels}")
        if self.norm == "group" and any(count % NORM_GROUPS for count in (*widths, *self.channels)):
            inside = f", {tuple(widths)} in bottlenecks" if self.block == "bottleneck" else ""
            raise ConfigError(f"group norm needs channels in multiples of {NORM_GROUPS}, got {self.channels}{inside}")
        if not self.has_full_block and self.stem == "none":
            raise ConfigError("without a stem every block is at the input's resolution: has_full_block says nothing")
        if self.modalities < 1 or self.classes < 2:
            raise ConfigError(f"need a modality and two classes, got {self.modalities} and {self.classes}")

    @property
    def stride(self) -> int:
        """Voxels of the input, along an axis, to one of the finest level."""
        return _STRIDES[self.stem]

    @property
    def goes_up_to_a_block(self) -> bool:
        """Whether the network ends in a block at the input's resolution, after one at the stem's."""
        return self.stride > 1 and self.has_full_block

    @property
    def divisor(self) -> int:
        """What each edge of an input must be a multiple of: levels below the first halve it, and so may the stem."""
        return int(self.stride * 2 ** (len(self.channels) - 1))

    @property
    def depths(self) -> tuple[int, ...]:
        """3x3x3 convolutions of each level on the way down, from the finest."""
        return self.convolutions or (_CONVOLUTIONS,) * len(self.channels)

    @property
    def decoder_depths(self) -> tuple[int, ...]:
        """The same on the way up: of each level but the deepest, from the finest."""
        return self.decoder_convolutions or (_CONVOLUTIONS,) * (len(self.channels) - 1)

    @property
    def words(self) -> str:
        """It in words, such as '(24, 48, 96, 192), instance norm, stem half', and what is unlike the original."""
        words = f"{self.channels}, {self.norm} norm, stem {self.stem}"
        if self.block != "double":
            words += f", {self.block} blocks"
        if self.convolutions or self.decoder_convolutions:
            words += f", {self.depths} convolutions down and {self.decoder_depths} up"
        return words if self.has_full_block else f"{words}, no block at full resolution"


PRESETS: Mapping[str, UNetConfig] = {
    "reference": UNetConfig(),
    "lite": UNetConfig(channels=(24, 48, 96, 192), norm="instance", stem="half"),
    "fast": UNetConfig(channels=(24, 48, 96, 192), norm="instance", stem="half", has_full_block=False),
}


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One convolution of a block."""

    edge: int  # of its kernel: 1 or 3
    inputs: int
    outputs: int


def block_units(block: Block, inputs: int, outputs: int, count: int) -> list[list[Convolution]]:
    """The convolutions of a block with `count` 3x3x3 ones, in units: what a shortcut, if it has any, leads around."""
    if block == "bottleneck":
        inner = outputs // BOTTLENECK
        return [
            [
                Convolution(edge=1, inputs=inputs if place == 0 else outputs, outputs=inner),
                Convolution(edge=3, inputs=inner, outputs=inner),
                Convolution(edge=1, inputs=inner, outputs=outputs),
            ]
            for place in range(count)
        ]
    chain = [Convolution(edge=3, inputs=inputs if place == 0 else outputs, outputs=outputs) for place in range(count)]
    return [chain] if block == "double" else [chain[first : first + 2] for first in range(0, count, 2)]


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
        yield _layer("full.conv", joined, 1, norm=config.norm)
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
    convolution one of its input, so the larger of the two counts twice where there is a norm, unless the engine makes
    no copies. 36 for `lite` (24 without copies), whose last convolution decides, and 132 for `reference` with its norms
    folded.
    """
    waiting: dict[str, float] = {"input": float(config.modalities)}
    peak = 0.0
    for name, block in groupby(layers(config), key=lambda layer: layer.name.rpartition(".")[0]):
        part, _, level = name.partition(".")
        for layer in block:
            inner = layer.inputs / layer.input_scale**3
            outer = layer.outputs / layer.scale**3
            beside = layer.beside / layer.scale**3
            copy = max(inner, outer) if layer.has_norm and has_copies else 0.0
            peak = max(peak, sum(waiting.values()) + inner + outer + beside + copy)
            if part == "decoder":
                waiting.pop(level, None)  # joined into what the block's first layer reads
        if part == "encoder":
            waiting[level] = outer
    return peak
