"""Probabilities of labels, and how sure they are."""

from __future__ import annotations

import math

import numpy as np

from ssa_fast.volume.geometry import FloatArray

__all__ = ["entropy", "softmax"]


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
