"""Candidates over a stand-in for TensorRT (see `standin_tensorrt`): which are tried, which is kept, which are not."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ssa_fast.backends import open_backend, open_engine
from ssa_fast.backends.manifest import read_manifest
from ssa_fast.backends.tensorrt_library import load_library
from ssa_fast.errors import BackendUnavailable, ConfigError, EngineError
from ssa_fast.export import tensorrt_candidates
from ssa_fast.export.parity import read_proofs
from ssa_fast.export.profile import Boxes, Profile
from ssa_fast.export.tensorrt_candidates import Job, build_best, recipes_of
from ssa_fast.export.to_tensorrt import one_shape
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.case import find_cases
from tests.backends.standin_tensorrt import TensorRT, install
from tests.cases import write_case

BOXES = Boxes(smallest=(16, 16, 16), usual=(32, 32, 32), largest=(48, 48, 48))
PROFILE = Profile(
    description="a stand-in",
    backends=("trt",),
    capability="7.5",
    workspace_gb=0.5,
    window=(32, 32, 32),
    boxes=BOXES,
    precisions=("float32", "float16"),
)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> TensorRT:
    monkeypatch.setattr(tensorrt_candidates, "_median_ms", lambda run, windows: 10.0)  # no clock in these tests
    return install(monkeypatch)


@pytest.fixture
def bundle(tiny_bundle_path: Path) -> Bundle:
    return read_bundle(tiny_bundle_path)


@pytest.fixture
def job(bundle: Bundle, library: TensorRT, tmp_path: Path) -> Job:
    cases = find_cases([write_case(tmp_path / "cases", name, seed=seed) for seed, name in enumerate(("A", "B"))])
    return Job(
        ours=load_library(is_rtx=False),
        bundle=bundle,
        profile=PROFILE,
        profile_name="standin.toml",
        cases=cases,
        root=tmp_path / "engines",
    )


def _with_one_weight_changed(graph: bytes, _is_half: bool = False) -> bytes:
    """The graph with one number of one weight moved, as a builder's fault or a bad copy would."""
    model = onnx.load_model_from_string(graph)
    weight = next(one for one in model.graph.initializer if one.name == "head.bias")
    values = numpy_helper.to_array(weight).copy()
    values[1] += 2
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return model.SerializeToString()


def _times(monkeypatch: pytest.MonkeyPatch, *milliseconds: float) -> None:
    times = iter([time for time in milliseconds for _ in ("plain", "by a graph")])
    monkeypatch.setattr(tensorrt_candidates, "_median_ms", lambda run, windows: next(times))


def test_the_fastest_valid_engine_is_kept_and_opens_with_the_bundles_answers(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    _times(monkeypatch, 30.0, 10.0, 20.0)
    folder, manifest = build_best(job)
    assert folder.name == f"tiny-{job.bundle.sha256[:8]}--standin--float16--geforce-gtx-1650--tensorrt-10.16.1.11"
    assert read_manifest(folder) == manifest
    boxes = "16x16x16 to 48x48x48"
    assert [(one.name, one.milliseconds, one.verdict) for one in manifest.candidates] == [
        (f"float32, strongly typed, {boxes}", 30.0, "valid"),
        (f"float16, strongly typed, {boxes}", 10.0, "kept (valid)"),
        (f"float16, weakly typed, {boxes}", 20.0, "valid"),
    ]
    assert (manifest.precision, manifest.shapes) == ("float16", ((16, 16, 16), (48, 48, 48)))
    assert manifest.needs["GPU"] == "NVIDIA GeForce GTX 1650"
    assert manifest.built_with["CUDA of the driver"] == "13.0"
    assert manifest.parity is not None
    assert manifest.parity.cases == ("A", "B")
    [proof] = read_proofs(job.cases[:1], job.bundle.spec.divisor)
    seen = open_engine(folder).logits(proof.windows)
    wanted = open_backend("ort", job.bundle, "float32").logits(proof.windows)
    np.testing.assert_allclose(seen, wanted, atol=0.1)


def test_an_engine_with_one_weight_changed_fails_parity(job: Job, library: TensorRT) -> None:
    library.spoil = _with_one_weight_changed
    with pytest.raises(
        EngineError, match=r"no valid engine .*equal labels on [\d.]+% of a brain's voxels, wanted 99\.90%"
    ):
        build_best(job)
    assert not list(job.root.glob("*/manifest.json"))


def test_only_the_candidate_that_fails_is_dropped(job: Job, library: TensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    _times(monkeypatch, 30.0, 20.0, 1.0)
    library.spoil = lambda graph, is_weak: _with_one_weight_changed(graph) if is_weak else graph
    _, manifest = build_best(job)
    assert manifest.candidates[2].verdict.startswith("dropped: equal labels on")
    assert manifest.candidates[2].milliseconds == 1.0  # the fastest, and not kept
    assert manifest.built_with["recipe"] == "float16, strongly typed"


def test_an_engine_whose_logits_are_not_numbers_is_dropped(job: Job, library: TensorRT) -> None:
    def spoiled(graph: bytes, _is_weak: bool) -> bytes:
        model = onnx.load_model_from_string(graph)
        weight = next(one for one in model.graph.initializer if one.name == "head.bias")
        values = numpy_helper.to_array(weight) * np.float16("nan")
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), weight.name))
        return model.SerializeToString()

    library.spoil = spoiled
    with pytest.raises(EngineError, match="NaN"):
        build_best(job)


def test_engines_for_brain_boxes_give_labels_and_those_for_one_window_do_not(job: Job) -> None:
    folder, manifest = build_best(job)
    assert manifest.gives == ("logits", "labels")
    [proof] = read_proofs(job.cases[:1], job.bundle.spec.divisor)
    engine = open_engine(folder)
    np.testing.assert_array_equal(engine.labels(proof.windows), np.argmax(engine.logits(proof.windows), axis=1))
    one = dataclasses.replace(PROFILE, boxes=one_shape((32, 32, 32)))
    assert build_best(dataclasses.replace(job, profile=one))[1].gives == ("logits",)


def test_an_engine_with_right_logits_and_wrong_labels_is_dropped(job: Job, library: TensorRT) -> None:
    library.spoil = lambda graph, is_weak: graph.replace(b"ArgMax", b"ArgMin")
    _, manifest = build_best(job)
    said = "dropped: equal labels on "
    assert [one.verdict.startswith(said) for one in manifest.candidates] == [True] * 3 + [False] * 3
    assert manifest.gives == ("logits",)  # of one window, which has no argmax to be wrong


def test_tensorrt_11_has_no_weakly_typed_candidate(job: Job, library: TensorRT) -> None:
    del library.BuilderFlag.FP16
    assert [recipe.name for recipe in recipes_of(job)] == ["float32, strongly typed", "float16, strongly typed"]


def test_int8_is_tried_only_with_tensor_cores_and_a_quantized_bundle(job: Job, bundle: Bundle) -> None:
    precisions = ("float32", "int8")
    without = dataclasses.replace(
        job, profile=dataclasses.replace(PROFILE, has_tensor_cores=True, precisions=precisions)
    )
    assert [recipe.precision for recipe in recipes_of(without)] == ["float32"]
    given = dataclasses.replace(without, quantized=dataclasses.replace(bundle, content=b"quantized"))
    assert [(recipe.precision, recipe.onnx) for recipe in recipes_of(given)][1] == ("int8", b"quantized")
    no_cores = dataclasses.replace(
        given, profile=dataclasses.replace(PROFILE, backends=("ort",), precisions=precisions)
    )
    assert [recipe.precision for recipe in recipes_of(no_cores)] == ["float32"]


def test_the_builder_is_set_as_the_profile_says(job: Job, library: TensorRT) -> None:
    build_best(job)
    assert len(library.configs) == 3
    for config in library.configs:
        assert config.pools == {"WORKSPACE": 500_000_000}
        assert (config.builder_optimization_level, config.hardware_compatibility_level) == (5, "NONE")
        assert config.shapes == ((1, 4, 16, 16, 16), (1, 4, 32, 32, 32), (1, 4, 48, 48, 48))
    assert [config.flags for config in library.configs] == [set(), set(), {"FP16"}]


def test_timings_are_kept_beside_the_engines_and_used_again(job: Job, library: TensorRT) -> None:
    build_best(job)
    [cache] = job.root.glob("*.cache")
    assert cache.name == "timings--tensorrt-10.16.1.11.cache"
    assert cache.read_bytes() == b"timed;" * 3
    cache.write_bytes(b"of another GPU")
    build_best(job)
    assert cache.read_bytes() == b"timed;" * 3  # those were dropped


def test_where_boxes_plan_too_much_memory_the_window_is_built(job: Job) -> None:
    tight = dataclasses.replace(PROFILE, activation_gb=0.005)  # 48^3 plans 7 MB in the stand-in, 32^3 two
    _, manifest = build_best(dataclasses.replace(job, profile=tight))
    assert manifest.shapes == ((32, 32, 32),)
    verdicts = [one.verdict for one in manifest.candidates]
    assert all(verdict.startswith("dropped: plans 0.01 GB for activations") for verdict in verdicts[:3])
    assert verdicts[3:] == ["kept (valid)", "valid", "valid"]
    assert manifest.parity is not None
    assert manifest.parity.has_passed


def test_graphs_that_change_the_answers_are_not_kept(
    job: Job, library: TensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = itertools.cycle([10.0, 1.0])
    monkeypatch.setattr(tensorrt_candidates, "_median_ms", lambda run, windows: next(times))
    end = library.cuda.cudaStreamEndCapture

    def lost(handle: int) -> Any:  # what was captured runs no kernel
        library.cuda.open[handle].captured.clear()
        return end(handle)

    monkeypatch.setattr(library.cuda, "cudaStreamEndCapture", lost)
    _, manifest = build_best(dataclasses.replace(job, profile=dataclasses.replace(PROFILE, precisions=("float32",))))
    assert "CUDA graph" not in manifest.built_with
    assert manifest.candidates[0].milliseconds == 10.0


def test_engines_for_brain_boxes_may_keep_graphs_too(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.cycle([10.0, 8.0])
    monkeypatch.setattr(tensorrt_candidates, "_median_ms", lambda run, windows: next(times))
    _, manifest = build_best(job)
    assert (manifest.shapes, manifest.built_with["CUDA graph"]) == (((16, 16, 16), (48, 48, 48)), "yes")


@pytest.mark.parametrize(("by_graph", "kept"), [(8.0, "yes"), (9.9, None)])
def test_a_graph_is_kept_where_it_pays(
    by_graph: float, kept: str | None, job: Job, library: TensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = itertools.cycle([10.0, by_graph])
    monkeypatch.setattr(tensorrt_candidates, "_median_ms", lambda run, windows: next(times))
    one = dataclasses.replace(PROFILE, boxes=Boxes(smallest=(32,) * 3, usual=(32,) * 3, largest=(32,) * 3))
    _, manifest = build_best(dataclasses.replace(job, profile=one))
    assert manifest.built_with.get("CUDA graph") == kept
    assert manifest.candidates[0].milliseconds == (by_graph if kept else 10.0)


def test_a_time_is_the_median_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        runs = 0

        def logits(self, windows: Any) -> None:
            self.runs += 1

    engine, seconds = Engine(), itertools.cycle([0, 0.002, 0, 0.004])
    monkeypatch.setattr(tensorrt_candidates.time, "perf_counter", lambda: next(seconds))
    assert tensorrt_candidates._median_ms(engine.logits, None) == pytest.approx(3.0)  # type: ignore[arg-type]
    assert engine.runs == 23


def test_no_device_memory_is_left_when_all_is_built(job: Job, library: TensorRT) -> None:
    build_best(job)
    assert (library.cuda.device, library.cuda.pinned, library.cuda.open) == ({}, {}, {})


def test_without_cuda_python_the_extra_that_brings_it_is_named(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ssa_fast.backends.cuda", None)
    monkeypatch.delitem(sys.modules, "ssa_fast.backends.tensorrt")
    with pytest.raises(BackendUnavailable, match=r"running an engine needs more: pip install 'ssa-fast\[trt\]'"):
        build_best(job)


def test_building_an_engine_needs_no_torch() -> None:
    ours = "ssa_fast.cli.export_tensorrt, ssa_fast.export.tensorrt_candidates"
    code = f"import sys, {ours}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_cases_or_from_another_precision_nothing_is_built(job: Job, bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="give real cases, --cases CASES"):
        build_best(dataclasses.replace(job, cases=()))
    half = dataclasses.replace(bundle, arithmetic="float16")
    with pytest.raises(ConfigError, match="computes in float16; give the float32 bundle"):
        build_best(dataclasses.replace(job, bundle=half))


def test_tensorrt_rtx_really_builds_and_keeps_what_it_can_without_parity(bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: pip install 'ssa-fast[trt-rtx]'")
    job = Job(
        ours=load_library(is_rtx=True),
        bundle=bundle,
        profile=PROFILE,
        profile_name="standin.toml",
        cases=(),
        root=tmp_path / "engines",
    )
    folder, manifest = build_best(job)
    assert folder.name.startswith(f"tiny-{bundle.sha256[:8]}--standin--float16--sm75--tensorrt-rtx-")
    assert manifest.parity is None
    first, second = manifest.candidates
    assert first.verdict.startswith("dropped: TensorRT-RTX has no float32 3D convolution for Turing")
    assert (second.verdict, manifest.precision) == ("kept (built, not run)", "float16")
    assert second.planned_bytes is not None
    with pytest.raises(EngineError, match="built by TensorRT-RTX to check graph and memory, and is not run"):
        open_engine(folder)
    data_center = dataclasses.replace(job, profile=dataclasses.replace(PROFILE, capability="9.0"))
    with pytest.raises(EngineError, match=r"^TensorRT-RTX builds for SM120"):
        build_best(data_center)
