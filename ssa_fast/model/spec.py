"""What a network is and what it was trained for: facts in plain values, no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import BundleError, ConfigError
from ssa_fast.labels import LABEL_NAMES, MODALITIES

__all__ = [
    "PREPROCESSING",
    "PRESETS",
    "Layer",
    "ModelSpec",
    "UNetConfig",
    "gflop",
    "layers",
    "live_values",
    "parameter_count",
    "receptive_field",
]

PREPROCESSING = "RAS, 1 mm, cropped to the brain (any modality != 0), z-score a modality over its non-zero voxels"
"""What `volume.preprocess` does to a case, in the words of a spec."""

NORM_GROUPS = 8  # of channels that group norm takes together
FULL_RESOLUTION_CHANNELS = 8  # of the one block that a half-resolution network has at the input's resolution


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """The shape of a 3D U-Net: two 3x3x3 convolutions a level, pooling down, transposed convolution up."""

    channels: tuple[int, ...] = (32, 64, 128, 256, 512)  # a level, from the finest
    norm: Literal["batch", "instance", "group", "none"] = "batch"  # "none": batch norm folded into biases
    stem: Literal["none", "half"] = "none"  # "half": the whole U-Net at half the input's resolution
    modalities: int = 4
    classes: int = 4

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or min(self.channels) < 1:
            raise ConfigError(f"channels need two levels or more, each of one or more, got {self.channels}")
        if self.norm == "group" and any(count % NORM_GROUPS for count in self.channels):
            raise ConfigError(f"group norm needs channels in multiples of {NORM_GROUPS}, got {self.channels}")
        if self.modalities < 1 or self.classes < 2:
            raise ConfigError(f"need a modality and two classes, got {self.modalities} and {self.classes}")

    @property
    def divisor(self) -> int:
        """What each edge of an input must be a multiple of: levels below the first halve it, and so does the stem."""
        return int(2 ** (len(self.channels) - 1 + (self.stem == "half")))


PRESETS: Mapping[str, UNetConfig] = {
    "reference": UNetConfig(),
    "lite": UNetConfig(channels=(24, 48, 96, 192), norm="instance", stem="half"),
}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One convolution as arithmetic sees it."""

    name: str
    inputs: int
    outputs: int
    taps: int  # multiplications an output voxel and input channel
    scale: int  # its output has 1/scale of the network input's edge
    has_bias: bool
    has_norm: bool

    @property
    def parameters(self) -> int:
        """Weights, bias, and the norm's two values a channel."""
        weights = self.inputs * self.outputs * self.kernel_voxels
        return weights + self.outputs * (self.has_bias + 2 * self.has_norm)

    @property
    def is_transposed(self) -> bool:
        """Whether it is a 2x2x2 transposed convolution of stride 2."""
        return self.name.startswith(("up.", "full.up"))

    @property
    def kernel_voxels(self) -> int:
        """Voxels of the kernel: a transposed convolution has eight, one tap a voxel each."""
        return 8 if self.is_transposed else self.taps


def layers(config: UNetConfig) -> Iterator[Layer]:
    """Every convolution of the network, in the order in which it runs."""
    channels, has_norm = config.channels, config.norm != "none"
    first = 2 if config.stem == "half" else 1
    inputs = config.modalities
    if config.stem == "half":
        yield Layer(name="stem", inputs=inputs, outputs=channels[0], taps=64, scale=2, has_bias=True, has_norm=False)
        inputs = channels[0]

    def block(name: str, inputs: int, outputs: int, scale: int) -> Iterator[Layer]:
        for place, source in (("conv1", inputs), ("conv2", outputs)):
            yield Layer(
                name=f"{name}.{place}",
                inputs=source,
                outputs=outputs,
                taps=27,
                scale=scale,
                has_bias=not has_norm,
                has_norm=has_norm,
            )

    for level, outputs in enumerate(channels):
        yield from block(f"encoder.{level}", inputs, outputs, first * 2**level)
        inputs = outputs
    for level in reversed(range(len(channels) - 1)):
        outputs, scale = channels[level], first * 2**level
        yield Layer(
            name=f"up.{level}", inputs=inputs, outputs=outputs, taps=1, scale=scale, has_bias=True, has_norm=False
        )
        yield from block(f"decoder.{level}", 2 * outputs, outputs, scale)
        inputs = outputs
    if config.stem == "half":
        outputs = FULL_RESOLUTION_CHANNELS
        yield Layer(name="full.up", inputs=inputs, outputs=outputs, taps=1, scale=1, has_bias=True, has_norm=False)
        yield Layer(
            name="full.conv",
            inputs=outputs + config.modalities,
            outputs=outputs,
            taps=27,
            scale=1,
            has_bias=not has_norm,
            has_norm=has_norm,
        )
        inputs = outputs
    yield Layer(name="head", inputs=inputs, outputs=config.classes, taps=1, scale=1, has_bias=True, has_norm=False)


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
    low, high = place, place
    if config.stem == "half":
        low, high = (low - 1) // 2, (high + 1) // 2  # the full resolution's convolution, and up to it
    bottom = len(config.channels) - 1
    for _ in range(bottom):
        low, high = (low - 2) // 2, (high + 2) // 2  # two convolutions, and up to them
    for _ in range(bottom):
        low, high = 2 * (low - 2), 2 * (high + 2) + 1  # two convolutions, and the pooling before them
    low, high = low - 2, high + 2
    if config.stem == "half":
        low, high = 2 * low - 1, 2 * high + 2
    return high - low + 1


def live_values(config: UNetConfig, *, has_copies: bool = True) -> float:
    """Values alive at once, at most, for each voxel of the input: the skips waiting, a layer's input and output.

    A norm needs its own copy beside the convolution's output, or the convolution one of its input, so the larger of the
    two counts twice where there is a norm, unless the engine makes no copies. 36 for `lite` (24 without copies), whose
    last convolution decides, and 132 for `reference` with its norms folded.
    """
    waiting: dict[str, float] = {"input": float(config.modalities)}
    peak = 0.0
    for layer in layers(config):
        inner = layer.inputs / (layer.scale * 2 if layer.is_transposed else layer.scale) ** 3
        outer = layer.outputs / layer.scale**3
        copy = max(inner, outer) if layer.has_norm and has_copies else 0.0
        peak = max(peak, sum(waiting.values()) + inner + outer + copy)
        group, _, rest = layer.name.partition(".")
        level, _, place = rest.partition(".")
        if group == "encoder" and place == "conv2":
            waiting[level] = outer
        elif group == "decoder" and place == "conv1":
            waiting.pop(level, None)
    return peak


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What must be known to run a network right: it travels in every checkpoint and bundle as JSON."""

    name: str
    network: UNetConfig
    window: tuple[int, int, int]  # voxels it was trained on, X Y Z
    modalities: tuple[str, ...] = MODALITIES  # channel order
    labels: tuple[str, ...] = ("background", *LABEL_NAMES.values())  # the label value is the place
    preprocessing: str = PREPROCESSING
    postprocessing: str = "none"  # profile of `volume.postprocess` that did best on held-out cases
    parent: str = ""  # SHA-256 of the checkpoint that a bundle was made from
    licence: str = ""
    attribution: str = ""
    trained_on: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)  # measured, e.g. "fold 0 WT Dice"

    def __post_init__(self) -> None:
        if len(self.modalities) != self.network.modalities or len(self.labels) != self.network.classes:
            raise ConfigError(
                f"model '{self.name}' names {len(self.modalities)} modalities and {len(self.labels)} labels, "
                f"its network has {self.network.modalities} and {self.network.classes}"
            )

    @property
    def divisor(self) -> int:
        """What each edge of an input must be a multiple of."""
        return self.network.divisor

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives the spec back."""
        return json.dumps(to_mapping(self))

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelSpec:
        """Raises BundleError, naming `where`, if the text is no spec that this version knows."""
        try:
            return from_mapping(cls, json.loads(text), where=where)
        except (json.JSONDecodeError, ConfigError) as error:
            raise BundleError(
                f"{where}: its description is not one this version of ssa-fast reads ({error})"
            ) from error
