"""What training minimizes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from ssa_fast.train.config import LossConfig

__all__ = ["distillation_loss", "mean_answer", "segmentation_loss", "soft_dice_loss"]

_SMOOTHING = 1.0  # voxels: a label that is absent and not predicted costs nothing


def segmentation_loss(logits: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    """The weighted sum of both losses: (N, K, X, Y, Z) logits against (N, X, Y, Z) labels.

    Each is of one window by itself, then the mean over windows: so accumulation and several processes change nothing.
    Source: nnU-Net (Isensee et al., Nature Methods 2021) has both with weight 1.
    """
    log_probabilities = functional.log_softmax(logits.float(), dim=1)
    class_weights = torch.tensor(config.class_weights, device=logits.device) if config.class_weights else None
    losses = [
        functional.nll_loss(one[None], target[None], class_weights)
        for one, target in zip(log_probabilities, labels, strict=True)
    ]
    loss = config.cross_entropy * torch.stack(losses).mean()
    if config.dice:
        loss = loss + config.dice * soft_dice_loss(log_probabilities.exp(), labels)
    return loss


def soft_dice_loss(probabilities: Tensor, labels: Tensor) -> Tensor:
    """1 - the mean soft Dice of the labels above 0, of each window of the batch by itself.

    Probabilities are (N, K, X, Y, Z). Source: Milletari et al., 3DV 2016.
    """
    losses = []
    for label, one in enumerate(probabilities.unbind(1)[1:], start=1):  # a slice's gradient is as large as all
        predicted, wanted = one.flatten(1), (labels == label).flatten(1)  # (N, XYZ)
        overlap = 2 * (predicted * wanted).sum(1) + _SMOOTHING
        losses.append(1 - overlap / (predicted.sum(1) + wanted.sum(1) + _SMOOTHING))
    return torch.stack(losses).mean()


def mean_answer(answers: Iterable[Tensor], temperature: float) -> Tensor:
    """Logits (N, K, X, Y, Z) whose softened probabilities are the mean of those of `answers`, of one or more.

    An answer is added as soon as it comes, so that few are held; a single one comes back as it is. Source: Hinton,
    Vinyals and Dean, arXiv:1503.02531, where a network learns from an ensemble.
    """
    rest = iter(answers)
    total, count = next(rest), 1
    for answer in rest:
        if count == 1:  # from now on the logarithm of the sum of probabilities
            total = functional.log_softmax(total.float() / temperature, dim=1)
        total = torch.logaddexp(total, functional.log_softmax(answer.float() / temperature, dim=1))
        count += 1
    return total if count == 1 else (total - math.log(count)) * temperature


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far the probabilities of (N, K, X, Y, Z) logits are from a teacher's, both softened: the mean over voxels.

    The Kullback-Leibler divergence times the square of the temperature, which keeps the gradient's size.
    Source: Hinton, Vinyals and Dean, arXiv:1503.02531.
    """
    ours = functional.log_softmax(logits.float() / temperature, dim=1)
    theirs = functional.log_softmax(teacher.float() / temperature, dim=1)
    return (theirs.exp() * (theirs - ours)).sum(dim=1).mean() * temperature**2
