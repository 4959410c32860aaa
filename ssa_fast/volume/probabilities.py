"""Probabilities of labels, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["entropy", "soft_dice", "softmax"]


def softmax(logits: FloatArray) -> FloatArray:
    """The probability of each label: (K, ...) -> (K, ...) float32, adding up to 1 along the first axis. NaN stays NaN.

    The largest logit is taken off first, so that no exponential overflows.
    """
    shares: FloatArray = logits - logits.max(axis=0)
    np.exp(shares, out=shares)
    shares /= shares.sum(axis=0)
    return shares


def entropy(probabilities: FloatArray) -> FloatArray:
    """How undecided each voxel is: (K, ...) -> (...), 0 where one label has it all, 1 where all K are equally likely.

    Shannon's -sum p log p over log K.
    """
    least = np.finfo(np.float32).tiny  # 0 log 0 is 0
    total: FloatArray = np.zeros(probabilities.shape[1:], dtype=np.float32)
    for channel in probabilities:
        total -= channel * np.log(np.maximum(channel, least))
    total /= np.float32(math.log(len(probabilities)))
    return total


def soft_dice(probabilities: npt.NDArray[np.floating[Any]], labels: LabelArray, region: Sequence[int]) -> float | None:
    """The Dice that a region would have if the probabilities were true: 2 sum(p y) / (sum p + sum y).

    `probabilities` are (K, ...), p their sum over the labels of `region`, y where `labels` (...) have one of them. None
    where they have none. Networks are surer than they are right, so the real Dice is lower, as a rule.
    """
    inside = np.isin(labels, region)
    found = int(np.count_nonzero(inside))
    if not found:
        return None
    both = sum(float(np.sum(probabilities[label], where=inside, dtype=np.float64)) for label in region)
    return 2 * both / (sum(float(np.sum(probabilities[label], dtype=np.float64)) for label in region) + found)
