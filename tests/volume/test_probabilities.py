"""Probabilities and their entropy, against five plain lines."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssa_fast.volume.probabilities import entropy, soft_dice, softmax

logits_arrays = hnp.arrays(np.float32, (4, 2, 3, 1), elements=st.floats(-300, 300, width=32))


@given(logits_arrays)
def test_softmax_is_the_share_of_each_exponential(logits: npt.NDArray[np.float32]) -> None:
    shares = softmax(logits)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)
    exact = np.exp(logits.astype(np.float64) - logits.max(axis=0))
    np.testing.assert_allclose(shares, exact / exact.sum(axis=0), atol=1e-6)


def test_logits_stay_as_they_were_and_nan_stays_seen() -> None:
    logits = np.array([[0.0, np.nan], [1.0, 2.0]], dtype=np.float32)
    kept = logits.copy()
    assert np.isnan(softmax(logits)[:, 1]).all()
    np.testing.assert_array_equal(logits, kept)


@given(logits_arrays)
def test_entropy_lies_between_sure_and_undecided(logits: npt.NDArray[np.float32]) -> None:
    values = entropy(softmax(logits))
    assert values.shape == logits.shape[1:]
    assert values.min() >= 0
    assert values.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [
        ((1, 0, 0, 0), 0),
        ((0.25, 0.25, 0.25, 0.25), 1),
        ((0.5, 0.5, 0, 0), 0.5),  # one bit of two
        ((0.9, 0.1, 0, 0), -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1)) / 2),
    ],
)
def test_entropy_worked_by_hand(shares: tuple[float, ...], wanted: float) -> None:
    assert entropy(np.array(shares, dtype=np.float32).reshape(4, 1, 1, 1)).item() == pytest.approx(wanted, abs=1e-6)


def test_soft_dice_worked_by_hand() -> None:
    # four voxels: background, label 1, label 3, and a doubtful one that became background
    shares = np.array([[1, 0.1, 0, 0.6], [0, 0.9, 0.2, 0.2], [0, 0, 0, 0.1], [0, 0, 0.8, 0.1]], dtype=np.float16)
    labels = np.array([0, 1, 3, 0], dtype=np.uint8)
    assert soft_dice(shares, labels, (1, 3)) == pytest.approx(2 * (0.9 + 1.0) / (0.9 + 1.0 + 0.3 + 2), abs=1e-3)
    assert soft_dice(shares, labels, (3,)) == pytest.approx(2 * 0.8 / (0.8 + 0.1 + 1), abs=1e-3)
    assert soft_dice(shares, labels, (2,)) is None
    assert soft_dice(np.eye(4, dtype=np.float32), np.arange(4, dtype=np.uint8), (1, 2, 3)) == 1
