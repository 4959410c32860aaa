"""The learning rate, update by update."""

from __future__ import annotations

import pytest

from ssa_fast.train.config import TrainConfig
from ssa_fast.train.schedule import cosine_rate


def test_the_rate_warms_up_and_falls_to_zero_along_half_a_cosine() -> None:
    config = TrainConfig(steps=12, warmup_steps=4, learning_rate=0.8)
    assert [cosine_rate(config, step) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert cosine_rate(config, 4) == pytest.approx(0.8)
    assert cosine_rate(config, 8) == pytest.approx(0.4)  # half way
    assert cosine_rate(config, 12) == pytest.approx(0)
