"""Yardsticks do the work that they are said to do."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from benchmarks.yardsticks import _OPENVINO, Yardstick, best_yardstick, yardsticks


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_yardstick_names_its_operations_and_runs(precision: str) -> None:
    product, convolutions = yardsticks(precision, is_small=True)
    assert product.operations == 2 * 128**3
    assert convolutions.operations == 4 * 2 * 27 * 32 * 32 * 16**3
    assert cast(Any, product.work()).shape == (128, 128)
    result = cast(Any, convolutions.work())[0]
    assert result.shape == (1, 32, 16, 16, 16)
    assert np.isfinite(result).all()
    assert result.any(), "a chain of zeros would be no work"


def test_int8_yardsticks_compute_in_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same chain, quantized, and all else in float32: near to float32, and not it."""
    monkeypatch.setitem(_OPENVINO, "int8", "f32")
    plain, quantized = (
        cast(Any, list(yardsticks(precision, is_small=True))[1].work())[0].copy() for precision in ("float32", "int8")
    )
    error = np.abs(plain - quantized).max() / np.abs(plain).max()
    assert 1e-4 < error < 0.1


def test_the_best_yardstick_is_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [Yardstick(name=str(work), operations=work, work=lambda: None) for work in (2, 9, 4)]
    monkeypatch.setattr("benchmarks.yardsticks.yardsticks", lambda *_, **__: iter(given))
    monkeypatch.setattr("benchmarks.yardsticks.seconds_of", lambda _: 1e-9)
    best, paces = best_yardstick("float32")
    assert best.name == "9"
    assert paces == {"2": 2, "9": 9, "4": 4}
