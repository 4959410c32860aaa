"""How fast the weights follow the gradient, update by update."""

from __future__ import annotations

import math

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ssa_fast.train.config import TrainConfig

__all__ = ["cosine_rate", "open_plateau"]


def cosine_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then half a cosine to zero: the rate of update `step`, counted from 0."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def open_plateau(config: TrainConfig, optimizer: torch.optim.Optimizer) -> ReduceLROnPlateau | None:
    """The schedule that looks at each epoch's loss, where `config` asks for it."""
    if config.schedule != "plateau":
        return None
    plateau = config.plateau
    return ReduceLROnPlateau(
        optimizer, factor=plateau.factor, patience=plateau.patience, min_lr=plateau.min_learning_rate
    )
