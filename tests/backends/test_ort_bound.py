"""ONNX Runtime on a GPU by bound buffers and graphs: over a stand-in, which is no GPU, and on a real one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ssa_fast import hardware
from ssa_fast.backends import open_backend, ort_bound
from ssa_fast.backends.measured import MeasuredBackend
from ssa_fast.backends.onnxruntime import BOUND, GRAPH, OrtBackend, ways
from ssa_fast.backends.ort_cuda import CUDA_PROVIDER, load_cuda
from ssa_fast.errors import BackendError
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.geometry import FloatArray
from tests.backends import standin_ort
from tests.backends.standin_ort import WORKSPACE_BYTES, Ort

PARTICULARS = pytest.mark.parametrize("particulars", [(BOUND,), (BOUND, GRAPH)])


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Ort:
    return standin_ort.install(monkeypatch)


@pytest.fixture
def bundle(tiny_bundle_path: Path) -> Bundle:
    return read_bundle(tiny_bundle_path)


def _windows(*edges: int, batch: int = 1, seed: int = 0) -> FloatArray:
    shape = (batch, 4, *(edges or (16, 16, 32)))
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _opened(bundle: Bundle, *particulars: str) -> OrtBackend:
    return OrtBackend(bundle, load_cuda(), *particulars)


@PARTICULARS
def test_answers_are_those_of_plain_runs(library: Ort, bundle: Bundle, particulars: tuple[str, ...]) -> None:
    plain, bound = _opened(bundle), _opened(bundle, *particulars)
    for seed, given in enumerate([(16, 16, 32), (16, 16, 32), (16, 32, 16), (16, 16, 32)]):
        for batch in (1, 2):
            windows = _windows(*given, batch=batch, seed=seed)
            np.testing.assert_array_equal(bound.logits(windows), plain.logits(windows))
            np.testing.assert_array_equal(bound.labels(windows), plain.labels(windows))
    assert bound.device.engine == f"{plain.device.engine}, {', '.join(particulars)}"
    assert (library.providers[0][1].get("enable_cuda_graph") == "1") == (GRAPH in particulars)
    plain.close()
    bound.close()


def test_memory_of_graphs_is_counted_and_given_back_with_their_session(library: Ort, bundle: Bundle) -> None:
    backend = _opened(bundle, BOUND, GRAPH)
    left = library.cuda.left_bytes
    for _ in range(3):
        backend.labels(_windows())
    backend.logits(_windows())  # another graph
    assert left - library.cuda.left_bytes == 2 * WORKSPACE_BYTES == backend.footprint.kept_bytes
    assert backend.free_bytes() == left  # the plan may have them let go of
    assert (backend.footprint.keeps_buffers, backend.footprint.is_kept_apart) == (True, True)
    backend.let_go()
    assert backend.footprint.kept_bytes == 0
    assert library.cuda.left_bytes == left + backend.footprint.held_bytes  # the session went with its graphs
    backend.labels(_windows())
    assert library.cuda.left_bytes == left - WORKSPACE_BYTES
    backend.close()


def test_no_more_than_a_few_graphs_are_kept(library: Ort, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_bound, "_MOST", 2)
    backend = _opened(bundle, BOUND, GRAPH)
    for edge in (16, 32, 48, 16):
        backend.labels(_windows(16, 16, edge))
        assert backend.footprint.kept_bytes <= 2 * WORKSPACE_BYTES
    backend.close()


def test_a_capture_that_runs_out_of_memory_is_one_line_and_leaves_nothing_behind(library: Ort, bundle: Bundle) -> None:
    backend = _opened(bundle, BOUND, GRAPH)
    library.cuda.left_bytes = WORKSPACE_BYTES - 1
    with pytest.raises(BackendError, match=r"CUDA graph in float32 on .* is out of memory on 1 x 4 x 16") as caught:
        backend.labels(_windows())
    assert "\n" not in str(caught.value)
    library.cuda.left_bytes = 1 << 30
    assert backend.labels(_windows()).shape == (1, 16, 16, 32)
    backend.close()


def test_auto_tries_them_on_a_gpu_and_on_a_processor_nothing(
    library: Ort, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [way.name for way in ways(bundle)] == [
        "float32",
        "float32, bound buffers",
        "float32, bound buffers, CUDA graph",
    ]
    with closing(open_backend("ort", bundle)) as backend:
        assert isinstance(backend, MeasuredBackend)
    with closing(open_backend("ort", bundle, "float32")) as backend:
        assert isinstance(backend, OrtBackend)
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: False)
    assert ways(bundle) == []
    with closing(open_backend("ort", bundle)) as backend:
        assert isinstance(backend, OrtBackend)


@pytest.mark.gpu
@PARTICULARS
def test_a_real_gpu_gives_the_labels_of_plain_runs(particulars: tuple[str, ...]) -> None:
    from ssa_fast.doctor.self_test import brain_trial
    from ssa_fast.pretrained import shipped_bundle

    if not hardware.has_nvidia_driver() or CUDA_PROVIDER not in onnxruntime.get_available_providers():
        pytest.skip("no CUDA GPU, or an onnxruntime that is not built for one: extra `gpu`")
    lite, windows = read_bundle(shipped_bundle("lite")), brain_trial().windows
    plain, bound = OrtBackend(lite, load_cuda()), OrtBackend(lite, load_cuda(), *particulars)
    wanted = plain.labels(windows)
    for _ in range(3):
        assert (bound.labels(windows) == wanted).mean() >= 0.999
        assert (bound.labels(np.ascontiguousarray(windows[..., 16:])).shape[-1]) == windows.shape[-1] - 16
    bound.let_go()
    assert (bound.labels(windows) == wanted).mean() >= 0.999
    bound.close()
    plain.close()
