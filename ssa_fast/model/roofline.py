"""The least time that a network can take on a device: its arithmetic at the device's peak, or its arrays moved once.

Source: Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", CACM 52(4), 2009.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ssa_fast.errors import ShapeError
from ssa_fast.hardware.cards import Card
from ssa_fast.model.spec import Layer, UNetConfig, layers

__all__ = ["BYTES_PER_VALUE", "Ceiling", "LayerCost", "Roofline", "card_ceiling", "network_roofline"]

BYTES_PER_VALUE: Mapping[str, int] = {"float32": 4, "float16": 2, "bf16": 2, "int8": 1}
"""Of activations and weights alike, by precision."""


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The most that a device can do."""

    device: str  # in words
    peaks: Mapping[str, float]  # operations/s, by precision
    bandwidth: float  # bytes/s of its memory
    source: str  # whose figures these are, or how they were measured


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What one convolution must compute and move. Norms, ReLUs and poolings count as done on the way: no extra pass."""

    name: str
    inputs: int  # channels
    outputs: int
    flop: float
    values: float  # read and written once: the input, the output, the weights

    def bytes_moved(self, precision: str) -> float:
        """Of all values, at the width of `precision`."""
        return self.values * BYTES_PER_VALUE[precision]


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """A network's layers under a device's ceiling. All times are floors: no program can be faster."""

    ceiling: Ceiling
    shape: tuple[int, int, int]  # of the network's input, X Y Z
    layers: tuple[LayerCost, ...]

    @property
    def flop(self) -> float:
        """Of all layers."""
        return sum(layer.flop for layer in self.layers)

    def arithmetic_ms(self, layer: LayerCost, precision: str) -> float:
        """Of one layer at the peak."""
        return 1e3 * layer.flop / self.ceiling.peaks[precision]

    def memory_ms(self, layer: LayerCost, precision: str) -> float:
        """Of moving one layer's arrays at full bandwidth."""
        return 1e3 * layer.bytes_moved(precision) / self.ceiling.bandwidth

    def floor_ms(self, layer: LayerCost, precision: str) -> float:
        """Of one layer: the longer of its arithmetic and its memory, for a device does both at once."""
        return max(self.arithmetic_ms(layer, precision), self.memory_ms(layer, precision))

    def arithmetic_floor_ms(self, precision: str) -> float:
        """Of all arithmetic, memory not counted: 323 ms for `reference` at 128^3 in float32 on a GTX 1650."""
        return 1e3 * self.flop / self.ceiling.peaks[precision]

    def total_floor_ms(self, precision: str) -> float:
        """Of all layers, one after the other."""
        return sum(self.floor_ms(layer, precision) for layer in self.layers)

    def share_of_peak(self, milliseconds: float, precision: str) -> float:
        """Share of the peak that the network's arithmetic takes if it is done in a time; above 1 it cannot be."""
        return self.arithmetic_floor_ms(precision) / milliseconds


def network_roofline(config: UNetConfig, shape: tuple[int, int, int], ceiling: Ceiling) -> Roofline:
    """The roofline of a network on one (X, Y, Z) input.

    Raises ShapeError if an edge is no multiple of the network's divisor.
    """
    if any(edge < config.divisor or edge % config.divisor for edge in shape):
        raise ShapeError(f"input of {shape} voxels: this network wants edges that are multiples of {config.divisor}")
    costs = tuple(_cost(layer, math.prod(shape)) for layer in layers(config))
    return Roofline(ceiling=ceiling, shape=shape, layers=costs)


def card_ceiling(card: Card) -> Ceiling:
    """What a card of the table can do at most."""
    peaks = {"float32": card.float32, "float16": card.float16}
    if card.int8 is not None:
        peaks["int8"] = card.int8
    return Ceiling(device=card.name, peaks=peaks, bandwidth=card.bandwidth, source=f"{card.source}; {card.checked}")


def _cost(layer: Layer, voxels: int) -> LayerCost:
    """`voxels` are those of the network's input."""
    outputs = layer.outputs * voxels / layer.scale**3
    inputs = layer.inputs * voxels / layer.input_scale**3
    return LayerCost(
        name=layer.name,
        inputs=layer.inputs,
        outputs=layer.outputs,
        flop=2 * layer.inputs * layer.taps * outputs,
        values=inputs + outputs + layer.parameters,
    )
