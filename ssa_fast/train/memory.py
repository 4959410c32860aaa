"""The memory that training takes, known before it is taken, and how little of it will do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from ssa_fast.errors import BudgetError
from ssa_fast.model.spec import FULL_RESOLUTION_CHANNELS, UNetConfig, parameter_count
from ssa_fast.train.config import TrainConfig

__all__ = ["TrainingMemory", "fit_memory", "planned_memory", "training_memory"]

_BYTES_A_PARAMETER = 4 + 4 + 8 + 4  # weight, gradient, two moments of Adam, running average


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Bytes of one update, the libraries and their workspaces not counted."""

    weights: int  # with gradients, optimizer and average
    kept: int  # activations that wait for the gradient
    passing: int  # of the block whose gradient takes the most

    @property
    def peak(self) -> int:
        """The most that is alive at once."""
        return self.weights + self.kept + self.passing


@dataclass(frozen=True, kw_only=True)
class _Block:
    level: int
    inputs: int  # channels
    outputs: int
    voxels: int  # of each
    convolutions: int = 2


def training_memory(
    network: UNetConfig, patch: tuple[int, int, int], *, batch: int, value_bytes: int, recomputed_levels: int = 0
) -> TrainingMemory:
    """What one update takes with activations of `value_bytes` (2 under autocast, 4 in float32).

    Of a block stay its input, and of each convolution the output and its normalized copy; where it is recomputed, its
    input and output do, and the rest passes. `reference` at 128^3, batch 1, needs 3.0 GB in 2 bytes (2.4 GB recomputed)
    and 5.1 GB in 4 (4.1 GB). What waits for the gradient is 3 % less to 18 % more than autograd was seen to hold.
    """
    voxels = math.prod(patch)
    kept = passing = 0.0  # values, but for the bytes of pooling
    for block in _blocks(network, voxels):
        inside = 2 * block.convolutions * block.outputs * block.voxels
        is_recomputed = block.level < recomputed_levels
        kept += block.inputs * block.voxels + (block.outputs * block.voxels if is_recomputed else inside)
        gradients = (block.inputs + block.outputs) * block.voxels
        passing = max(passing, gradients + (inside if is_recomputed else 0))
    pooled = sum(channels * voxels / _scale(network, level) / 8 for level, channels in enumerate(network.channels[:-1]))
    loss = (
        4 * 3 * network.classes + 8 + network.classes
    )  # float32 logits, log-probabilities, probabilities; labels; masks
    window = 4 * network.modalities
    weights = parameter_count(network) * (_BYTES_A_PARAMETER + (value_bytes if value_bytes < 4 else 0))
    return TrainingMemory(
        weights=weights,
        kept=math.ceil(batch * (kept * value_bytes + 8 * pooled + (loss + window) * voxels)),
        passing=math.ceil(batch * passing * value_bytes),
    )


def fit_memory(config: TrainConfig, *, value_bytes: int, budget_bytes: int) -> TrainConfig:
    """The same training in no more than `budget_bytes`.

    First the finest levels are recomputed, which costs time, then a batch is split into accumulated ones: an update
    still sees the same patches. Raises BudgetError if one patch is too much.
    """
    patches = config.batch * config.accumulate
    for batch in (size for size in range(config.batch, 0, -1) if patches % size == 0):
        for recomputed in range(config.recomputed_levels, len(config.network.channels) + 1):
            fitted = dataclasses.replace(config, batch=batch, accumulate=patches // batch, recomputed_levels=recomputed)
            if planned_memory(fitted, value_bytes).peak <= budget_bytes:
                return fitted
    raise BudgetError(
        f"training '{config.preset}' on one patch of {' x '.join(map(str, config.patch))} needs "
        f"{planned_memory(fitted, value_bytes).peak / 1e9:.2f} GB even where activations are recomputed, "
        f"{budget_bytes / 1e9:.2f} GB are granted: take a smaller patch or the 'lite' network"
    )


def planned_memory(config: TrainConfig, value_bytes: int) -> TrainingMemory:
    """What an update of a configuration takes with activations of `value_bytes`."""
    return training_memory(
        config.network,
        config.patch,
        batch=config.batch,
        value_bytes=value_bytes,
        recomputed_levels=config.recomputed_levels,
    )


def _blocks(network: UNetConfig, voxels: int) -> Iterator[_Block]:
    """The blocks of the network, with the voxels of one window at each."""
    inputs = network.channels[0] if network.stem == "half" else network.modalities
    for level, channels in enumerate(network.channels):
        size = voxels // _scale(network, level)
        yield _Block(level=level, inputs=inputs, outputs=channels, voxels=size)
        if level < len(network.channels) - 1:
            yield _Block(level=level, inputs=2 * channels, outputs=channels, voxels=size)
        inputs = channels
    if network.stem == "half":
        joined = FULL_RESOLUTION_CHANNELS + network.modalities
        yield _Block(
            level=len(network.channels),  # never recomputed
            inputs=joined,
            outputs=FULL_RESOLUTION_CHANNELS,
            voxels=voxels,
            convolutions=1,
        )


def _scale(network: UNetConfig, level: int) -> int:
    """Voxels of the input to one voxel of a level."""
    return int((2**level * (2 if network.stem == "half" else 1)) ** 3)
