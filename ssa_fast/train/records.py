"""What a run writes for people, beside its checkpoints."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssa_fast.config import to_mapping
from ssa_fast.errors import BackendUnavailable
from ssa_fast.files import write_json, write_whole
from ssa_fast.labels import REGIONS
from ssa_fast.measure import machine_line, peak_memory_bytes
from ssa_fast.model.spec import gflop, parameter_count
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.dataset import Patch
from ssa_fast.train.peak import measured_peak
from ssa_fast.train.placement import Placement

__all__ = [
    "BAD_BATCH",
    "HISTORY",
    "INFO",
    "STATS",
    "Epoch",
    "HeldOutScores",
    "draw_history",
    "finite_mean",
    "peak_bytes",
    "write_bad_batch",
    "write_info",
    "write_stats",
]

STATS, INFO, HISTORY, BAD_BATCH = "training_stats.json", "model_info.json", "training_history.png", "bad_batch.npz"


@dataclass(frozen=True, kw_only=True)
class HeldOutScores:
    """How a network does on held-out cases, by target: background, NCR, ED, ET, WT, TC."""

    dice: Mapping[str, float]
    precision: Mapping[str, float]
    recall: Mapping[str, float]
    loss: float | None = None  # where patches are scored
    cases: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # Dice of each, where they are scored whole

    @property
    def region_dice(self) -> float:
        """Mean Dice of WT, TC and ET: what the best checkpoint has the most of."""
        return float(np.mean([self.dice[region] for region in REGIONS]))


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of training_stats.json."""

    epoch: int  # from 1
    step: int  # updates made at its end
    loss: float  # mean over its training batches
    learning_rate: float  # of its last update
    seconds: float  # since it began, or since the run was gone on with
    peak_memory_bytes: int  # the GPU's allocations, or the process where there is none
    patches_per_second: float | None = None  # as the next three without the scoring; None where nothing was left to do
    share_of_peak: float | None = None  # of the machine's measured peak, which the network's arithmetic took
    gpu_utilization: float | None = None  # mean share of the time, where NVML tells
    gpu_memory_bytes: int | None = None  # the most that all programs took on the GPU, where NVML tells
    gradient_norm: float | None = None  # mean before clipping, over the updates where it was finite; None if nowhere
    held_out: HeldOutScores | None = None


def finite_mean(values: Sequence[torch.Tensor]) -> float | None:
    """The mean of those single values that are finite: in half precision some norms are not, and give no update."""
    finite = [float(value) for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def peak_bytes(device: torch.device) -> int:
    """The most memory that training has had at once on `device`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory_bytes()


def write_stats(folder: Path, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Write training_stats.json: a list with an epoch a line."""
    lines = ",\n".join(json.dumps(epoch) for epoch in epochs)
    write_whole(folder / STATS, f"[\n{lines}\n]\n".encode())


def write_info(folder: Path, config: TrainConfig, placement: Placement) -> None:
    """Write model_info.json: what is trained, and where."""
    parameters = parameter_count(config.network)
    info = {
        "network": config.preset,
        "architecture": to_mapping(config.network),
        "parameters": parameters,
        "megabytes_float32": round(parameters * 4 / 1e6, 1),
        "patch": config.patch,
        "gflop_a_patch": round(gflop(config.network, config.patch), 1),
        "precision": str(placement.dtype).removeprefix("torch."),
        "layout": str(placement.layout).removeprefix("torch."),
        "peak_gflop_a_second": round(measured_peak(placement.device, placement.dtype) / 1e9, 1),
        "compiled": placement.is_compiled,
        "machine": machine_line(placement.name),
    }
    write_json(folder / INFO, info)


def write_bad_batch(folder: Path, patches: Sequence[Patch]) -> Path:
    """Write the batch that gave no finite loss, before augmentation, and return the file.

    It holds `patches` (N, C, X, Y, Z), `labels` (N, X, Y, Z), `cases` and `centers`.
    """
    content = io.BytesIO()
    np.savez_compressed(
        content,
        patches=np.stack([patch.array.numpy() for patch in patches]),
        labels=np.stack([patch.labels.numpy().astype(np.uint8) for patch in patches]),
        cases=np.array([patch.case for patch in patches]),
        centers=np.array([patch.center for patch in patches]),
    )
    write_whole(folder / BAD_BATCH, content.getvalue())
    return folder / BAD_BATCH


def draw_history(folder: Path, epochs: Sequence[Mapping[str, Any]]) -> Path:
    """Draw training_history.png, loss, Dice and learning rate by update, and return it. The best epoch is marked.

    Raises BackendUnavailable if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise BackendUnavailable(f"{HISTORY} needs matplotlib: pip install 'ssa-fast[report]'") from error
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    scored = [epoch for epoch in epochs if epoch["held_out"]]
    loss, rate, *rest = figure.subplots(1, 3 if scored else 2)
    steps = [epoch["step"] for epoch in epochs]
    marker = "o" if len(steps) == 1 else None
    loss.plot(steps, [epoch["loss"] for epoch in epochs], label="training", marker=marker)
    if any(epoch["held_out"]["loss"] is not None for epoch in scored):
        known = [epoch for epoch in scored if epoch["held_out"]["loss"] is not None]
        held_out = [epoch["held_out"]["loss"] for epoch in known]
        loss.plot([epoch["step"] for epoch in known], held_out, label="held out", marker=marker)
    for dice in rest:
        for target in ("WT", "TC", "ET", "ED", "NCR"):
            values = [epoch["held_out"]["dice"][target] for epoch in scored]
            style = "-" if target in ("WT", "TC", "ET") else ":"
            dice.plot([epoch["step"] for epoch in scored], values, style, label=target, marker=marker)
        dice.set(title="Dice of held-out cases", xlabel="update", ylim=(0, 1))
        best = max(scored, key=lambda epoch: np.mean([epoch["held_out"]["dice"][region] for region in REGIONS]))
        dice.axvline(best["step"], color="0.6", linewidth=0.8, zorder=0, label=f"best: epoch {best['epoch']}")
        dice.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))  # below: curves cross it
    rate.plot(steps, [epoch["learning_rate"] for epoch in epochs], marker=marker)
    loss.set(title="Loss", xlabel="update")
    rate.set(title="Learning rate", xlabel="update", yscale="log")
    loss.legend(frameon=False)
    for axes in (loss, rate, *rest):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    write_whole(folder / HISTORY, content.getvalue())
    return folder / HISTORY
