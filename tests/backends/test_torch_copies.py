"""Copies beside a GPU's work, over a stand-in, which is no GPU: see `standin_torch` for what it holds to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from ssa_fast.backends.torch_copies import Copies
from ssa_fast.volume.geometry import FloatArray
from tests.backends import standin_torch
from tests.backends.standin_torch import Cuda


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return standin_torch.install(monkeypatch)


def _windows(count: int, edge: int = 4) -> FloatArray:
    return np.random.default_rng(count).standard_normal((count, 2, edge, edge, edge), dtype=np.float32)


def _twice_and_sum(library: Cuda, batch: Tensor) -> Sequence[Tensor]:
    library.kernel()
    return [2 * batch, batch.sum(dim=(1, 2, 3, 4))]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_window_comes_back_as_its_own_row(library: Cuda, count: int) -> None:
    copies = Copies(torch.device("cpu"))
    for _ in range(2):  # again through the same memory
        windows = _windows(count)
        twice, sums = copies.through(windows, lambda batch: _twice_and_sum(library, batch))
        np.testing.assert_array_equal(twice, 2 * windows)
        np.testing.assert_allclose(sums, windows.sum(axis=(1, 2, 3, 4)), rtol=1e-4)


def test_the_next_window_is_on_its_way_before_the_last_answer_is_waited_for(library: Cuda) -> None:
    Copies(torch.device("cpu")).through(_windows(3), lambda batch: _twice_and_sum(library, batch)[:1])
    moves = [call for call in library.calls if call != "pin"]
    assert moves == ["in", "out", "in", "out", "in", "out", "synchronize"]


def test_pinned_memory_is_used_again_and_grows_and_is_given_back(library: Cuda) -> None:
    copies = Copies(torch.device("cpu"))

    def pinned_by(windows: FloatArray) -> int:
        before = library.calls.count("pin")
        copies.through(windows, lambda batch: _twice_and_sum(library, batch))
        return library.calls.count("pin") - before

    assert pinned_by(_windows(1)) == 3  # one lane, and two answers
    assert pinned_by(_windows(1)) == 0
    assert pinned_by(_windows(1, edge=2)) == 0
    assert pinned_by(_windows(3)) == 3  # the second lane, and answers for three
    assert pinned_by(_windows(3)) == 0
    assert pinned_by(_windows(3, edge=5)) == 3  # sums are as many
    copies.let_go()
    assert pinned_by(_windows(1)) == 3


def test_a_failure_leaves_no_copy_under_way(library: Cuda) -> None:
    def failing(batch: Tensor) -> Sequence[Tensor]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    copies = Copies(torch.device("cpu"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        copies.through(_windows(2), failing)
    assert not any(stream.waiting for stream in library.streams)
    [twice, _] = copies.through(_windows(2), lambda batch: _twice_and_sum(library, batch))
    np.testing.assert_array_equal(twice, 2 * _windows(2))


@pytest.mark.gpu
def test_a_real_gpu_gives_every_window_back() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    copies, windows = Copies(torch.device("cuda", 0)), _windows(7, edge=64)
    for _ in range(3):
        with torch.inference_mode():
            [twice] = copies.through(windows, lambda batch: [2 * batch])
        np.testing.assert_array_equal(twice, 2 * windows)
