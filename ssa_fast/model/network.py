"""The shape of a 3D U-Net, in plain values, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from ssa_fast.errors import ConfigError

__all__ = [
    "BOTTLENECK",
    "FOLDED",
    "FULL_RESOLUTION_CHANNELS",
    "NORM_GROUPS",
    "PRESETS",
    "Block",
    "Convolution",
    "FullNorm",
    "Norm",
    "Stem",
    "UNetConfig",
    "block_units",
]

Stem: TypeAlias = Literal["none", "half", "quarter"]
Block: TypeAlias = Literal["double", "residual", "bottleneck"]
Norm: TypeAlias = Literal["batch", "ghost-batch", "instance", "batch-instance", "group", "none"]
FullNorm: TypeAlias = Literal["same", "ghost-batch", "batch-instance", "none"]

FOLDED: frozenset[str] = frozenset({"batch", "ghost-batch"})  # norms that a bundle has in its convolutions
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
    norm: Norm = "batch"  # "none": no norm, or one of batches, folded into the convolutions
    stem: Stem = "none"  # "half", "quarter": the whole U-Net at that share of the input's resolution
    modalities: int = 4
    classes: int = 4
    block: Block = "double"
    convolutions: tuple[int, ...] = ()  # 3x3x3 ones of each level on the way down, from the finest; empty: two each
    decoder_convolutions: tuple[int, ...] = ()  # the same on the way up, which has a level less
    has_full_block: bool = True  # behind a stem: a block at the input's resolution; without, the head itself goes up
    full_norm: FullNorm = "same"  # of that block, "none" as with `norm`; "same": `norm`

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
        if self.full_norm not in get_args(FullNorm):
            raise ConfigError(f"full_norm must be one of {', '.join(get_args(FullNorm))}, got '{self.full_norm}'")
        if self.full_norm != "same" and not self.goes_up_to_a_block:
            raise ConfigError("without a block at full resolution there is no norm in it: full_norm must be 'same'")
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
    def norm_of_full_block(self) -> Norm:
        """Of the block at the input's resolution, if there is one."""
        return self.norm if self.full_norm == "same" else self.full_norm

    @property
    def folded(self) -> UNetConfig:
        """The same with its norms of batches in the convolutions before them, as a bundle has it."""
        return replace(
            self,
            norm="none" if self.norm in FOLDED else self.norm,
            full_norm="none" if self.full_norm in FOLDED else self.full_norm,
        )

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
        if self.full_norm != "same":
            words += f", {'no' if self.full_norm == 'none' else self.full_norm} norm at full resolution"
        return words if self.has_full_block else f"{words}, no block at full resolution"


PRESETS: Mapping[str, UNetConfig] = {
    "reference": UNetConfig(),
    "lite": UNetConfig(channels=(24, 48, 96, 192), norm="instance", stem="half"),
    "fast": UNetConfig(
        channels=(24, 48, 96, 192),
        norm="instance",
        stem="half",
        convolutions=(1, 2, 3, 4),  # more of them where they are cheap
        decoder_convolutions=(1, 1, 2),
        full_norm="ghost-batch",  # normalized by a scanner's own statistics there, its grey matter was taken for oedema
    ),
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
