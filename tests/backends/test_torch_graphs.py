"""CUDA graphs of torch, over a stand-in, which is no GPU: see `standin_torch` for what it holds to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ssa_fast import hardware
from ssa_fast.backends import Choice, open_backend, torch_graphs
from ssa_fast.backends.pytorch import PytorchBackend
from ssa_fast.backends.torch_graphs import Graphs
from ssa_fast.errors import BackendError
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.geometry import FloatArray
from tests.backends import standin_torch
from tests.backends.standin_torch import GRAPH_BYTES, Cuda, as_on_a_gpu


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return standin_torch.install(monkeypatch)


@pytest.fixture
def bundle(tiny_bundle_path: Path) -> Bundle:
    return read_bundle(tiny_bundle_path)


@pytest.fixture
def no_cache() -> object:
    with torch.autocast("cpu", enabled=False, cache_enabled=False), torch.inference_mode():
        yield


def _network(batch: Tensor) -> Tensor:
    x = torch.cat([batch, 2 * batch], dim=1)
    return torch.relu_(x - 1)  # in place


def _batch(edge: int, seed: int = 0) -> Tensor:
    return torch.randn(1, 2, edge, edge, edge, generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("no_cache")
def test_replays_see_each_new_input_and_leave_the_last_answer_alone(library: Cuda) -> None:
    graphs = Graphs(_network, torch.device("cpu"))
    batches = [_batch(4, seed) for seed in range(3)]
    answers = [graphs.run(batch) for batch in batches]
    for batch, answer in zip(batches, answers, strict=True):
        assert torch.equal(answer, _network(batch))
    assert [call for call in library.calls if call in ("capture", "replay")] == ["capture", *["replay"] * 3]


@pytest.mark.usefixtures("no_cache")
def test_the_last_shapes_graphs_are_kept_and_counted_and_given_back(
    library: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_graphs, "_MOST", 2)
    graphs = Graphs(_network, torch.device("cpu"))
    for edge in (2, 3, 2, 4, 2):  # 4 takes the place of 3
        assert torch.equal(graphs.run(_batch(edge)), _network(_batch(edge)))
    assert library.calls.count("capture") == 3
    inputs = sum(_batch(edge).nbytes for edge in (4, 2))
    assert graphs.kept_bytes == 2 * GRAPH_BYTES + inputs
    assert library.reserved == 2 * GRAPH_BYTES
    graphs.let_go()
    assert (graphs.kept_bytes, library.reserved, library.calls[-1]) == (0, 0, "empty_cache")
    assert torch.equal(graphs.run(_batch(2)), _network(_batch(2)))
    assert library.calls.count("capture") == 4


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_whole_network_gives_by_graph_what_it_gives_without(library: Cuda, bundle: Bundle, precision: Choice) -> None:
    if precision == "bf16" and not hardware.cpu().has_bf16:
        pytest.skip(f"{hardware.cpu().name} has no bf16 instructions")
    plain, graphed = (open_backend("torch", bundle, precision) for _ in range(2))
    for backend in (plain, graphed):
        assert isinstance(backend, PytorchBackend)
        as_on_a_gpu(backend, has_graph=backend is graphed)
    for seed, shape in enumerate([(1, 4, 16, 16, 32), (3, 4, 16, 16, 32), (1, 4, 32, 16, 16)]):
        windows: FloatArray = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        np.testing.assert_array_equal(graphed.logits(windows), plain.logits(windows))
        np.testing.assert_array_equal(graphed.labels(windows), plain.labels(windows))
    assert library.calls.count("capture") == 2  # a window at a time: batches have no graphs of their own
    footprint = graphed.footprint
    assert (footprint.keeps_buffers, footprint.is_kept_apart) == (True, True)
    assert footprint.kept_bytes > 2 * GRAPH_BYTES
    graphed.let_go()
    assert graphed.footprint.kept_bytes == 0


def test_a_capture_that_runs_out_of_memory_is_one_line_that_says_what_to_do(library: Cuda, bundle: Bundle) -> None:
    backend = open_backend("torch", bundle, "float32")
    assert isinstance(backend, PytorchBackend)
    as_on_a_gpu(backend, has_graph=True)
    library.left_graphs = 0
    wanted = (
        r"is out of memory on 1 x 4 x 16 x 16 x 16 values: 0\.\d+ GB were planned, 0\.50 GB are .* --max-memory 0\.4GB"
    )
    with pytest.raises(BackendError, match=wanted) as caught:
        backend.labels(np.ones((1, 4, 16, 16, 16), dtype=np.float32))
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
def test_a_real_gpu_gives_by_graph_what_it_gives_without() -> None:
    from ssa_fast.backends.pytorch import ways
    from ssa_fast.doctor.self_test import brain_trial
    from ssa_fast.pretrained import shipped_bundle

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    found = {way.name: way for way in ways(read_bundle(shipped_bundle("lite")))}
    plain, graphed = found["float32"].open(), found["float32, CUDA graph"].open()
    windows = brain_trial().windows
    wanted = plain.labels(windows).copy()
    for _ in range(3):
        assert (graphed.labels(windows) == wanted).mean() >= 0.999
    taken = graphed.footprint.kept_bytes
    assert taken > windows.nbytes
    free = graphed.free_bytes() or 0
    graphed.let_go()
    assert (graphed.free_bytes() or 0) - free > 0.9 * taken
    graphed.close()
    plain.close()
