"""The machine's measured peak: a yardstick that no network outruns."""

from __future__ import annotations

import time

import pytest
import torch

from ssa_fast import hardware
from ssa_fast.train import peak
from ssa_fast.train.peak import measured_bandwidth, measured_ceiling, measured_peak

CPU = torch.device("cpu")


def test_the_peak_is_at_least_what_a_plain_matrix_product_reaches() -> None:
    matrix = torch.ones(256, 256)
    start = time.perf_counter()
    for _ in range(3):
        matrix = (matrix @ matrix) / 256
    plain = 3 * 2 * 256**3 / (time.perf_counter() - start)
    assert measured_peak(CPU, torch.float32) > plain / 10  # a busy machine may be slower a moment later


def test_it_is_the_better_of_the_two_yardsticks_and_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured_peak.cache_clear()
    paces = iter([3e9, 5e9])
    monkeypatch.setattr(peak, "_product", lambda device, dtype: next(paces))
    monkeypatch.setattr(peak, "_convolution", lambda device, dtype: next(paces))
    try:
        assert [measured_peak(CPU, torch.bfloat16) for _ in range(2)] == [5e9, 5e9]
    finally:
        measured_peak.cache_clear()


def test_measuring_draws_nothing_from_the_random_stream_that_training_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_SECONDS", 0.0)
    measured_peak.cache_clear()
    before = torch.get_rng_state()
    measured_peak(CPU, torch.float32)
    measured_peak.cache_clear()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_gpu_is_measured_in_little_memory(dtype: torch.dtype) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats()
    assert measured_peak(device, dtype) > 1e11
    assert torch.cuda.max_memory_allocated() < 200e6


def test_the_ceiling_holds_every_precision_of_the_processor_and_how_it_was_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = frozenset({"avx512_bf16"})
    monkeypatch.setattr(hardware, "cpu", lambda: hardware.Cpu(name="AMD", threads=2, flags=flags))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(peak, "measured_peak", lambda device, dtype: {torch.float32: 1e11, torch.bfloat16: 3e11}[dtype])
    monkeypatch.setattr(peak, "measured_bandwidth", lambda device: 2e10)
    ceiling = measured_ceiling()
    assert (ceiling.device, ceiling.bandwidth) == ("AMD", 2e10)
    assert ceiling.peaks == {"float32": 1e11, "bf16": 3e11}
    assert ceiling.source.startswith(f"measured now by torch {torch.__version__} on ")


def test_bandwidth_counts_what_is_read_and_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_COPIED_BYTES", 1000)
    monkeypatch.setattr(peak, "_best_seconds", lambda work, device: work() is not None and 0.5)
    measured_bandwidth.cache_clear()
    try:
        assert measured_bandwidth(CPU) == 4000
    finally:
        measured_bandwidth.cache_clear()
