"""The memory that training takes, known before it is taken, and how little of it will do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ssa_fast.errors import BudgetError
from ssa_fast.model.cost import live_values, parameter_count
from ssa_fast.model.network import FULL_RESOLUTION_CHANNELS, UNetConfig, block_units
from ssa_fast.train.config import TrainConfig

__all__ = ["TrainingMemory", "fit_memory", "planned_memory", "training_memory"]

_LOSS_BYTES = (
    21  # a logit, while the gradient of the loss is computed: five float32 values and a quarter, a mask's byte
)
_BYTES_A_PARAMETER = 4 + 4 + 8 + 4  # weight, gradient, two moments of Adam, running average
_PLANNED_SHARE = 0.9  # of a budget


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
    """Bytes of one block, for one patch."""

    kept: float  # from its run until its gradient
    alive: float  # while its gradient is computed: its own, made again or kept, and gradients on their way


def training_memory(
    network: UNetConfig, patch: tuple[int, int, int], *, batch: int, value_bytes: int, recomputed_levels: int = 0
) -> TrainingMemory:
    """What one update takes with activations of `value_bytes` (2 under autocast, 4 in float32).

    Of a block stay its input, and of each convolution the output and its normalized copy; where it is recomputed, its
    output does, and the rest is alive only while its gradient is computed. `reference` at 128^3, batch 1, needs 4.8 GB
    in 4 bytes (2.8 GB with two levels recomputed, 2.6 GB with all) and 2.7 GB in 2 (1.7 GB, 1.6 GB): up to 8 % more
    than is alive in an update whose tensors are tracked operator by operator.
    """
    voxels = math.prod(patch)
    blocks = list(_blocks(network, voxels, value_bytes, recomputed_levels))
    waiting = kept = math.fsum(block.kept for block in blocks)
    most = 0.0
    for block in reversed(blocks):  # as the gradient passes
        waiting -= block.kept
        most = max(most, waiting + block.alive)
    always = (4 * network.modalities + 8 + value_bytes * network.classes) * voxels  # float32 patch, labels, logits
    weights = parameter_count(network) * (_BYTES_A_PARAMETER + (value_bytes if value_bytes < 4 else 0))
    return TrainingMemory(
        weights=weights, kept=math.ceil(batch * (kept + always)), passing=math.ceil(batch * (most - kept))
    )


def fit_memory(
    config: TrainConfig, *, value_bytes: int, budget_bytes: int, teachers: Sequence[UNetConfig] = ()
) -> TrainConfig:
    """The same training in no more than `budget_bytes`.

    First the finest levels are recomputed, which costs time, then a batch is split into accumulated ones: an update
    still sees the same patches. A tenth of the budget is spared for what is not planned: workspaces of cuDNN (where one
    does not fit, torch tries the next algorithm) and the allocator's gaps. Raises BudgetError if one patch is too much.
    """
    patches = config.batch * config.accumulate
    for batch in (size for size in range(config.batch, 0, -1) if patches % size == 0):
        for recomputed in range(config.recomputed_levels, len(config.network.channels) + 1):
            fitted = dataclasses.replace(config, batch=batch, accumulate=patches // batch, recomputed_levels=recomputed)
            needed = planned_memory(fitted, value_bytes, teachers).peak / _PLANNED_SHARE
            if needed <= budget_bytes:
                return fitted
    raise BudgetError(
        f"training '{config.preset}' on one patch of {' x '.join(map(str, config.patch))} needs {needed / 1e9:.2f} GB "
        f"even where activations are recomputed, {budget_bytes / 1e9:.2g} GB are granted: grant more, as in "
        "--max-memory 2GB, or take a smaller patch or network"
    )


def planned_memory(config: TrainConfig, value_bytes: int, teachers: Sequence[UNetConfig] = ()) -> TrainingMemory:
    """What an update of a configuration takes with activations of `value_bytes`, the passes of its teachers included.

    The teachers run first, one by one, when nothing is kept yet but what the ones before answered. On a GPU under
    autocast, group norm takes more: torch computes it in float32 there.
    """
    memory = training_memory(
        config.network,
        config.patch,
        batch=config.batch,
        value_bytes=value_bytes,
        recomputed_levels=config.recomputed_levels,
    )
    # coarse logits, from the finest level on that is coarser than the input, and what the loss makes of them
    network, first = config.network, 0 if config.network.stride > 1 else 1
    levels = range(first, first + config.supervised_levels)
    coarse = sum(math.prod(config.patch) / _scale(network, level) for level in levels)
    logits = (value_bytes + _LOSS_BYTES) * config.network.classes * coarse
    memory = dataclasses.replace(memory, kept=memory.kept + math.ceil(config.batch * logits))
    if not teachers:
        return memory
    voxels = config.batch * math.prod(config.patch)
    answer = _LOSS_BYTES * config.network.classes * voxels  # their mean, kept until the loss has seen it
    most = math.ceil(4 * max(live_values(teacher) for teacher in teachers) * voxels)  # in float32
    most += answer if len(teachers) > 1 else 0
    kept = memory.kept + answer
    return TrainingMemory(
        weights=memory.weights + 4 * sum(parameter_count(teacher) for teacher in teachers),
        kept=kept,
        passing=max(memory.passing, most - kept),
    )


def _blocks(network: UNetConfig, voxels: int, value_bytes: int, recomputed_levels: int) -> Iterator[_Block]:
    """The blocks of the network in the order in which they run, the loss last."""
    has_stem = network.stride > 1
    outputs = [  # bytes of one tensor a level
        value_bytes * channels * (voxels // _scale(network, level)) for level, channels in enumerate(network.channels)
    ]
    window = value_bytes * network.modalities * voxels
    skips = [2 * sum(outputs[:level]) for level in range(len(outputs))]  # gradients of finer joins, on their way
    passing = 2 if network.block == "double" else 3  # a shortcut's gradient waits until its unit's has passed
    for level, output in enumerate(outputs):
        inputs: float = outputs[0] if has_stem else window
        width = network.channels[0] if has_stem else network.modalities
        if level > 0:  # pooled, with the place of each largest voxel in eight bytes
            inputs = outputs[level - 1] / 8 * (1 + 8 / value_bytes)
            width = network.channels[level - 1]
        inside = inputs + output * _tensors(network, level, width, network.depths[level])
        recomputed = output if level > 0 else output + inputs
        alive = inside + passing * output + skips[level]
        yield _Block(kept=recomputed if level < recomputed_levels else inside, alive=alive)
    for level, output in reversed(list(enumerate(outputs[:-1]))):
        count = network.decoder_depths[level]
        if level == 0 < recomputed_levels and not network.goes_up_to_a_block and network.block == "double":
            # the last block, of which the first convolution is recomputed
            yield _Block(kept=(2 * count - 1) * output, alive=max(6, 2 * count + 2) * output)
            continue
        inside = output * (2 + _tensors(network, level, 2 * network.channels[level], count))
        alive = inside + passing * output + skips[level]
        yield _Block(kept=output if level < recomputed_levels else inside, alive=alive)
    if network.goes_up_to_a_block:
        full = value_bytes * FULL_RESOLUTION_CHANNELS * voxels
        yield _Block(kept=window + 3 * full, alive=window + 5 * full)
    logits = network.classes * voxels  # of the loss stay log-probabilities, probabilities and masks
    yield _Block(kept=9 * logits, alive=_LOSS_BYTES * logits)


def _tensors(network: UNetConfig, level: int, inputs: int, count: int) -> float:
    """What a block of `count` 3x3x3 convolutions keeps of its own, in tensors of its output's size.

    Of each convolution the output and its normalized copy; of a shortcut with a convolution that one's output.
    """
    outputs = network.channels[level]
    units = block_units(network.block, inputs, outputs, count)
    kept = sum(2 * convolution.outputs for unit in units for convolution in unit) / outputs
    return kept + (network.block != "double" and inputs != outputs)


def _scale(network: UNetConfig, level: int) -> int:
    """Voxels of the input to one voxel of a level."""
    return int((2**level * network.stride) ** 3)
