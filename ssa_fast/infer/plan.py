"""What inference will do for one case, known before it is done."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ssa_fast.errors import BudgetError
from ssa_fast.model.spec import ModelSpec, UNetConfig, gflop, layers
from ssa_fast.volume.geometry import padded_shape

__all__ = ["Plan", "plan_case"]

_BYTES_PER_VALUE = 4  # float32 also where the engine computes in bf16: the estimate must not be below the truth


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One pass over the padded brain box: its size, its cost."""

    box: tuple[int, int, int]  # of the brain, voxels
    shape: tuple[int, int, int]  # of the pass: the box, padded
    gflop: float
    peak_bytes: int  # of arrays at once, the engine's libraries not counted

    def __str__(self) -> str:
        box, shape = (" x ".join(map(str, edges)) for edges in (self.box, self.shape))
        memory = f"at most {self.peak_bytes / 1e9:.2f} GB of arrays"
        return f"brain {box}, one pass of {shape}, {self.gflop:.0f} GFLOP, {memory}"


def plan_case(box: tuple[int, int, int], spec: ModelSpec, budget_bytes: int | None) -> Plan:
    """The plan for a brain box of (X, Y, Z) voxels: pure, so it can be shown and tested without a network.

    A `budget_bytes` of None means that the memory is not known and not limited.
    Raises BudgetError if one pass needs more than `budget_bytes`.
    """
    shape = padded_shape(box, spec.divisor)
    plan = Plan(box=box, shape=shape, gflop=gflop(spec.network, shape), peak_bytes=_peak_bytes(spec.network, shape))
    if budget_bytes is not None and budget_bytes < plan.peak_bytes:
        raise BudgetError(
            f"one pass of {' x '.join(map(str, shape))} voxels needs {plan.peak_bytes / 1e9:.2f} GB, "
            f"{budget_bytes / 1e9:.2f} GB are granted: close other programs or take the 'lite' network"
        )
    return plan


def _peak_bytes(config: UNetConfig, shape: tuple[int, int, int]) -> int:
    """The most that is alive at once: the input, the skips waiting, and a layer's input and output.

    A norm and its ReLU may need their own copy beside the convolution's output, so the larger of a layer's
    two arrays counts twice.
    """
    voxels = math.prod(shape)
    waiting: dict[str, float] = {"input": float(config.modalities)}  # channels at full resolution
    peak = 0.0
    for layer in layers(config):
        inner = layer.inputs / layer.scale**3
        outer = layer.outputs / layer.scale**3
        peak = max(peak, sum(waiting.values()) + inner + outer + max(inner, outer))
        group, _, rest = layer.name.partition(".")
        level, _, place = rest.partition(".")
        if group == "encoder" and place == "conv2":
            waiting[level] = outer
        elif group == "decoder" and place == "conv1":
            waiting.pop(level, None)
    return math.ceil(peak * voxels * _BYTES_PER_VALUE)
