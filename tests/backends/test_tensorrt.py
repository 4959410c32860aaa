"""The `trt` backend over a stand-in for TensorRT and CUDA, which keeps their contract: see `standin_tensorrt`."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ssa_fast.backends import Backend, open_backend, open_engine
from ssa_fast.backends.manifest import read_manifest, write_manifest
from ssa_fast.errors import BackendError, BackendUnavailable, EngineError, NumericsError, ShapeError
from ssa_fast.model.argmax import with_labels
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.geometry import FloatArray
from tests.backends.standin_builder import plan_of
from tests.backends.standin_cuda import Code
from tests.backends.standin_tensorrt import TensorRT, install, write_engine

SMALLEST, LARGEST = (16, 16, 16), (32, 32, 32)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> TensorRT:
    return install(monkeypatch)


@pytest.fixture
def bundle(tiny_bundle_path: Path) -> Bundle:
    return read_bundle(tiny_bundle_path)


@pytest.fixture
def engine(bundle: Bundle, tmp_path: Path, library: TensorRT) -> Path:
    return write_engine(tmp_path / "engine", plan_of(bundle.content, SMALLEST, LARGEST), bundle, (SMALLEST, LARGEST))


def _static(folder: Path, bundle: Bundle, **changes: Any) -> Path:
    return write_engine(folder, plan_of(bundle.content, SMALLEST, SMALLEST), bundle, (SMALLEST,), **changes)


def _windows(*shape: int) -> FloatArray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _wanted(bundle: Bundle, windows: FloatArray) -> FloatArray:
    backend = open_backend("ort", bundle, "float32")
    return np.concatenate([backend.logits(windows[place : place + 1]) for place in range(len(windows))])


@pytest.fixture
def both(bundle: Bundle, tmp_path: Path, library: TensorRT) -> Path:
    """An engine with argmax in its graph, as the export builds for brain boxes."""
    content = plan_of(with_labels(bundle.content), SMALLEST, LARGEST)
    return write_engine(tmp_path / "both", content, bundle, (SMALLEST, LARGEST), gives=("logits", "labels"))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["engine", "both"])
def test_each_window_of_a_batch_gets_its_own_labels(
    count: int, kind: str, bundle: Bundle, request: pytest.FixtureRequest
) -> None:
    backend = open_engine(request.getfixturevalue(kind))
    for shape in ((16, 24, 32), (32, 16, 16), (16, 24, 32)):  # another shape, and back
        windows = _windows(count, 4, *shape)
        labels = backend.labels(windows)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, np.argmax(_wanted(bundle, windows), axis=1))
        np.testing.assert_array_equal(backend.logits(windows), _wanted(bundle, windows))
    backend.close()


def test_where_argmax_is_in_the_engine_no_logits_cross_to_the_host(both: Path, library: TensorRT) -> None:
    backend = open_engine(both)
    library.cuda.copied_out = 0
    backend.labels(_windows(1, 4, 16, 16, 16))
    assert library.cuda.copied_out == 16**3 + 4  # the labels and the mean
    backend.logits(_windows(1, 4, 16, 16, 16))
    assert library.cuda.copied_out == 16**3 + 4 + 4 * 4 * 16**3


@pytest.mark.parametrize("label", range(4))
def test_nan_logits_in_one_window_of_a_batch_are_an_error(label: int, both: Path) -> None:
    backend = open_engine(both)
    session = backend._engine.session  # type: ignore[attr-defined]

    def with_nan(names: Any, feeds: dict[str, FloatArray]) -> list[Any]:
        logits, labels, mean = session.run(names, feeds)
        return [logits, labels, np.float32("nan") if feeds["windows"][0, 0, 0, 0, 0] == label else mean]

    stub = types.SimpleNamespace(run=with_nan, get_inputs=session.get_inputs)
    backend._engine.session = stub  # type: ignore[attr-defined]
    windows = _windows(4, 4, 16, 16, 16)
    windows[:, 0, 0, 0, 0] = 9
    assert backend.labels(windows).shape == (4, 16, 16, 16)
    windows[label, 0, 0, 0, 0] = label
    with pytest.raises(NumericsError, match="the network gave NaN logits"):
        backend.labels(windows)


def test_an_engine_with_other_outputs_is_refused(bundle: Bundle, library: TensorRT, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(with_labels(bundle.content))
    del model.graph.output[2]
    folder = write_engine(tmp_path, plan_of(model.SerializeToString(), SMALLEST, LARGEST), bundle, (SMALLEST, LARGEST))
    with pytest.raises(EngineError, match="has windows, logits, labels, wanted windows and logits, or logits, labels"):
        open_engine(folder)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_each_window_of_a_batch_gets_its_own_logits(count: int, engine: Path, bundle: Bundle) -> None:
    backend = open_engine(engine)
    for shape in ((16, 24, 32), (32, 16, 16), (16, 24, 32)):  # another shape, and back
        windows = _windows(count, 4, *shape)
        seen = backend.logits(windows)
        assert seen.dtype == np.float32
        np.testing.assert_array_equal(seen, _wanted(bundle, windows))
    backend.close()


def test_a_result_stays_when_the_next_batch_runs(engine: Path, bundle: Bundle) -> None:
    backend = open_engine(engine)
    first = backend.logits(_windows(1, 4, 16, 16, 16))
    backend.logits(2 * _windows(1, 4, 16, 16, 16))
    np.testing.assert_array_equal(first, _wanted(bundle, _windows(1, 4, 16, 16, 16)))


def test_the_next_window_is_copied_before_the_present_one_is_waited_for(engine: Path, library: TensorRT) -> None:
    backend = open_engine(engine)
    library.cuda.calls.clear()
    backend.logits(_windows(2, 4, 16, 16, 16))
    calls = library.cuda.calls
    assert calls.count("execute_async_v3") == 2
    assert [place for place, call in enumerate(calls) if call == "execute_async_v3"][1] < calls.index(
        "cudaEventSynchronize"
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 48, 16, 16), r"windows are 48 x 16 x 16, wanted 16 x 16 x 16 to 32 x 32 x 32"),
        ((1, 4, 16, 16, 8), "wanted 16 x 16 x 16 to"),
        ((1, 3, 16, 16, 16), r"wanted \(N, 4, X, Y, Z\)"),
        ((1, 4, 16, 16, 12), "multiples of 8"),
        ((0, 4, 16, 16, 16), "wanted edges"),
        ((4, 16, 16, 16), "wanted"),
    ],
)
def test_windows_that_the_engine_was_not_built_for_are_refused(
    shape: tuple[int, ...], message: str, engine: Path
) -> None:
    with pytest.raises(ShapeError, match=message):
        open_engine(engine).logits(_windows(*shape))


def test_an_engine_of_one_shape_names_it(bundle: Bundle, library: TensorRT, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"wanted 16 x 16 x 16, for which the engine was built"):
        open_engine(_static(tmp_path, bundle)).logits(_windows(1, 4, 32, 16, 16))


def test_closing_gives_back_all_memory_streams_events_and_graphs(
    bundle: Bundle, library: TensorRT, tmp_path: Path
) -> None:
    left = library.cuda.left_bytes
    backend = open_engine(_static(tmp_path, bundle, built_with={"CUDA graph": "yes"}))
    backend.logits(_windows(3, 4, 16, 16, 16))
    assert library.cuda.left_bytes < left
    backend.close()
    cuda = library.cuda
    assert (cuda.left_bytes, cuda.device, cuda.pinned, cuda.open) == (left, {}, {}, {})


def test_memory_that_is_short_at_opening_is_all_given_back(engine: Path, library: TensorRT) -> None:
    library.cuda.left_bytes = left = 1_000_000  # one slot fits
    with pytest.raises(BackendError, match=r"CUDA's cudaMalloc(Host)? of 1 MB failed: cudaErrorMemoryAllocation"):
        open_engine(engine)
    assert (library.cuda.left_bytes, library.cuda.open) == (left, {})


def test_by_a_graph_the_logits_are_the_same_and_the_engine_is_enqueued_no_more(
    bundle: Bundle, library: TensorRT, tmp_path: Path
) -> None:
    backend = open_engine(_static(tmp_path, bundle, built_with={"CUDA graph": "yes"}))
    for seed in range(3):
        windows = _windows(3, 4, 16, 16, 16) + seed
        np.testing.assert_array_equal(backend.logits(windows), _wanted(bundle, windows))
    assert library.cuda.calls.count("execute_async_v3") == 6  # for each of two slots: twice plain, once captured
    assert library.cuda.calls.count("cudaGraphLaunch") == 5


def test_each_shape_that_comes_again_has_a_graph_of_its_own(both: Path, bundle: Bundle, library: TensorRT) -> None:
    manifest = read_manifest(both)
    write_manifest(both, dataclasses.replace(manifest, built_with={"CUDA graph": "yes"}))
    left = library.cuda.left_bytes
    backend = open_engine(both)
    shapes = [(16, 16, 16), (16, 24, 32), (32, 16, 16)]
    for launched in (0, 0, 3, 6):  # plain, captured, by their graphs, in turn
        for seed, shape in enumerate(shapes):
            windows = _windows(1, 4, *shape) + seed
            np.testing.assert_array_equal(backend.labels(windows), np.argmax(_wanted(bundle, windows), axis=1))
        assert library.cuda.calls.count("cudaGraphLaunch") == launched
    assert library.cuda.calls.count("execute_async_v3") == 9
    backend.close()
    assert (library.cuda.left_bytes, library.cuda.open) == (left, {})


def test_no_more_than_four_shapes_keep_their_graphs(both: Path, bundle: Bundle, library: TensorRT) -> None:
    write_manifest(both, dataclasses.replace(read_manifest(both), built_with={"CUDA graph": "yes"}))
    backend = open_engine(both)
    shapes = [(16, 16, 16), (16, 16, 24), (16, 16, 32), (16, 24, 32), (24, 16, 16), (32, 16, 16)]
    before = len(library.cuda.open)
    for shape in shapes:
        for _ in range(3):
            windows = _windows(1, 4, *shape)
            np.testing.assert_array_equal(backend.logits(windows), _wanted(bundle, windows))
    assert len(library.cuda.open) == before + 4 * 2  # what was captured, and what was made ready of it
    launches = library.cuda.calls.count("cudaGraphLaunch")
    backend.logits(_windows(1, 4, *shapes[-1]))
    backend.logits(_windows(1, 4, *shapes[0]))  # gone: plain again
    assert library.cuda.calls.count("cudaGraphLaunch") == launches + 1


def test_a_failure_at_run_time_is_one_line_with_what_tensorrt_says(engine: Path, library: TensorRT) -> None:
    backend = open_engine(engine)
    library.cuda.failing["cudaMemcpyAsync"] = Code.cudaErrorInvalidValue
    with pytest.raises(BackendError, match=r"TensorRT 10.* on NVIDIA GeForce GTX 1650 failed on 1 x 4 .*invalid arg"):
        backend.logits(_windows(1, 4, 16, 16, 16))
    library.cuda.failing.clear()
    context = backend._context  # type: ignore[attr-defined]
    context.set_tensor_address = lambda name, address: context._refused(f"no address for {name}")
    with pytest.raises(BackendError, match=r"API Usage Error \(no address for windows\)") as caught:
        backend.logits(_windows(1, 4, 16, 16, 16))
    assert "\n" not in str(caught.value)


def test_a_batch_is_right_after_one_that_failed_half_way(engine: Path, bundle: Bundle, library: TensorRT) -> None:
    backend = open_engine(engine)
    context: Any = backend._context  # type: ignore[attr-defined]
    run = context.execute_async_v3
    outcomes = iter([True, False])
    context.execute_async_v3 = lambda handle: next(outcomes) and run(handle)
    with pytest.raises(BackendError):
        backend.logits(_windows(2, 4, 16, 16, 16))
    context.execute_async_v3 = run
    windows = 3 * _windows(3, 4, 16, 16, 16)
    np.testing.assert_array_equal(backend.logits(windows), _wanted(bundle, windows))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("GPU NVIDIA GeForce GTX 1650, here it is NVIDIA T4", {"name": b"NVIDIA T4"}),
        ("compute capability 7.5, here it is 8.6", {"major": 8, "minor": 6}),
        ("multiprocessors 14, here it is 16", {"multiProcessorCount": 16}),  # the GTX 1650 of another chip
    ],
)
def test_an_engine_of_another_gpu_is_refused(
    what: str, change: dict[str, Any], engine: Path, library: TensorRT
) -> None:
    vars(library.cuda.gpu).update(change)
    with pytest.raises(EngineError, match=rf"was built for {what}: build it again: ssa-fast export"):
        open_engine(engine)


def test_an_engine_of_another_tensorrt_is_refused(engine: Path, library: TensorRT) -> None:
    library.__version__ = "11.4.0.106"
    with pytest.raises(EngineError, match=r"was built for TensorRT 10\.16\.1\.11, here it is 11\.4\.0\.106"):
        open_engine(engine)


def test_an_engine_without_parity_is_refused_unless_asked_for(
    bundle: Bundle, library: TensorRT, tmp_path: Path
) -> None:
    folder = _static(tmp_path, bundle, parity=None)
    with pytest.raises(EngineError, match="was never proven equal"):
        open_engine(folder)
    open_engine(folder, is_unproven_allowed=True).close()


def test_an_engine_that_is_damaged_or_exchanged_is_refused(engine: Path) -> None:
    (engine / "engine.plan").write_bytes((engine / "engine.plan").read_bytes()[:-1])
    with pytest.raises(EngineError, match="is damaged or was exchanged"):
        open_engine(engine)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda graph: b"no engine", "cut off or damaged: build it again"),
        (
            lambda graph: plan_of(graph, SMALLEST, LARGEST, version="10.13.2.6"),
            r"built by TensorRT 10\.13\.2\.6, here is 10\.16\.1\.11: build it again",
        ),
        (lambda graph: plan_of(graph, SMALLEST, LARGEST, dtype="DataType.HALF"), "is DataType.HALF, wanted float32"),
    ],
)
def test_what_tensorrt_refuses_is_told_in_one_line(
    content: Callable[[bytes], bytes], message: str, bundle: Bundle, library: TensorRT, tmp_path: Path
) -> None:
    folder = write_engine(tmp_path, content(bundle.content), bundle, (SMALLEST, LARGEST))
    with pytest.raises(EngineError, match=message) as caught:
        open_engine(folder)
    assert "\n" not in str(caught.value)


def test_too_little_memory_for_the_activations_is_told_with_numbers(engine: Path, library: TensorRT) -> None:
    library.has_context = False
    with pytest.raises(EngineError, match=r"needs 0\.01 GB for activations, 17\.18 of 17\.18 are free: .*OutOfMemory"):
        open_engine(engine)


def test_without_a_driver_the_line_says_so(engine: Path, library: TensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    library.cuda.failing["cudaGetDeviceProperties"] = Code.cudaErrorInsufficientDriver
    monkeypatch.setattr("ssa_fast.hardware.has_nvidia_driver", lambda: False)
    with pytest.raises(BackendUnavailable, match="no NVIDIA driver is loaded"):
        open_engine(engine)
    monkeypatch.setattr("ssa_fast.hardware.has_nvidia_driver", lambda: True)
    monkeypatch.setattr("ssa_fast.hardware.nvidia_driver_version", lambda: "550.54.14")
    with pytest.raises(BackendUnavailable, match=r"driver \(550\.54\.14\) does not serve CUDA 13, which needs 580"):
        open_engine(engine)


def test_where_the_runtime_cannot_be_made_the_log_says_why(engine: Path, library: TensorRT) -> None:
    def no_runtime(logger: Any) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    library.Runtime = no_runtime  # type: ignore[assignment]
    with pytest.raises(BackendUnavailable, match="NVIDIA driver"):
        open_engine(engine)


def test_a_bundle_is_refused_with_the_command_that_builds_an_engine(bundle: Bundle, library: TensorRT) -> None:
    with pytest.raises(EngineError, match=r"runs engines, not bundles: .*--backend trt --profile PROFILE"):
        open_backend("trt", bundle)


def test_an_engine_of_tensorrt_rtx_is_not_run(bundle: Bundle, library: TensorRT, tmp_path: Path) -> None:
    folder = _static(tmp_path, bundle, backend="trt-rtx")
    with pytest.raises(EngineError, match="built by TensorRT-RTX to check graph and memory, and is not run"):
        open_engine(folder, is_unproven_allowed=True)


def test_an_engine_says_what_runs_it(engine: Path, bundle: Bundle) -> None:
    backend: Backend = open_engine(engine)
    assert str(backend.device) == "TensorRT 10.16.1.11 in float32 on NVIDIA GeForce GTX 1650"
    assert backend.spec == bundle.spec
    assert backend.free_bytes() is None


def test_an_engine_of_another_network_is_refused(bundle: Bundle, library: TensorRT, tmp_path: Path) -> None:
    wider = dataclasses.replace(bundle.spec.network, modalities=5)
    spec = dataclasses.replace(bundle.spec, network=wider, modalities=(*bundle.spec.modalities, "pd"))
    with pytest.raises(EngineError, match="not its network's 5 modalities and 4 labels"):
        open_engine(_static(tmp_path, bundle, spec=spec))
