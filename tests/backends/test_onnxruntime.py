"""ONNX Runtime on a GPU: over a stand-in, which is no GPU, and on a real one where there is one."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ssa_fast import hardware
from ssa_fast.backends import open_backend, ort_cuda
from ssa_fast.backends.ort_cuda import CPU_PROVIDER, CUDA_PROVIDER
from ssa_fast.errors import ArithmeticUnavailable, BackendError, BackendUnavailable
from ssa_fast.export.parity import LIMITS, answers_of, compare
from ssa_fast.model.bundle import Arithmetic, Bundle, read_bundle
from ssa_fast.volume.geometry import FloatArray
from tests.backends import standin_ort
from tests.backends.standin_ort import WORKSPACE_BYTES, Ort


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Ort:
    return standin_ort.install(monkeypatch)


@pytest.fixture
def bundle(tiny_bundle_path: Path) -> Bundle:
    return read_bundle(tiny_bundle_path)


def _windows(batch: int = 1) -> FloatArray:
    return np.random.default_rng(0).standard_normal((batch, 4, 16, 24, 32), dtype=np.float32)


@pytest.mark.parametrize(
    ("listed", "arithmetic", "has_driver", "wanted"),
    [
        ((CUDA_PROVIDER, CPU_PROVIDER), "float32", True, True),
        ((CUDA_PROVIDER, CPU_PROVIDER), "float16", True, True),
        ((CUDA_PROVIDER, CPU_PROVIDER), "int8", True, False),  # it has no such convolutions there
        ((CUDA_PROVIDER, CPU_PROVIDER), "float32", False, False),  # it is listed on machines without a GPU, too
        ((CPU_PROVIDER,), "float32", True, False),
    ],
)
def test_a_gpu_is_asked_for_where_the_library_is_built_for_it_and_a_driver_is_there(
    listed: tuple[str, ...], arithmetic: Arithmetic, has_driver: bool, wanted: bool
) -> None:
    assert ort_cuda.is_cuda_asked_for(listed, arithmetic, has_driver=has_driver) is wanted


def test_a_session_on_the_gpu_is_asked_for_in_true_float32_and_says_so(
    library: Ort, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_backend("ort", bundle)) as backend:
        assert (backend.device.name, backend.device.precision) == ("NVIDIA GeForce GTX 1650", "float32")
        assert "on NVIDIA GeForce GTX 1650" in str(backend.device)
        assert (backend.device.threads, backend.footprint.is_host) == (0, False)
        [(provider, options), beside] = library.providers
        assert (provider, beside) == (CUDA_PROVIDER, CPU_PROVIDER)
        assert (options["use_tf32"], options["cudnn_conv_algo_search"]) == ("0", "EXHAUSTIVE")
    assert capsys.readouterr().out == ""


def test_answers_are_those_of_the_processor(library: Ort, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = _windows(batch=2)
    with closing(open_backend("ort", bundle)) as on_gpu:
        seen_logits, seen_labels = on_gpu.logits(windows).copy(), on_gpu.labels(windows).copy()
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: False)
    with closing(open_backend("ort", bundle)) as on_cpu:
        assert on_cpu.device.name == hardware.cpu().name
        np.testing.assert_array_equal(seen_logits, on_cpu.logits(windows))
        np.testing.assert_array_equal(seen_labels, on_cpu.labels(windows))


def test_memory_of_the_gpu_is_told_and_given_back_after_each_run(library: Ort, bundle: Bundle) -> None:
    with closing(open_backend("ort", bundle)) as backend:
        left = backend.free_bytes()
        assert left == library.cuda.left_bytes
        assert backend.footprint.held_bytes == (1 << 34) - library.cuda.left_bytes > 0
        backend.logits(_windows())
        backend.labels(_windows())
        assert backend.free_bytes() == left


def test_a_session_that_quietly_moved_to_the_processor_is_refused(library: Ort, bundle: Bundle) -> None:
    library.runs_on = CPU_PROVIDER
    with pytest.raises(BackendUnavailable, match=r"its session moved to CPUExecutionProvider: 'ssa-fast doctor'"):
        open_backend("ort", bundle)


@pytest.mark.parametrize("operator", ["Conv", "InstanceNormalization", "ArgMax"])
def test_a_network_of_which_a_part_moved_to_the_processor_is_refused(
    operator: str, library: Ort, bundle: Bundle
) -> None:
    library.left_behind = frozenset({operator})
    with pytest.raises(BackendUnavailable, match=f"off the GPU: {operator} to CPUExecutionProvider"):
        open_backend("ort", bundle)


def test_arithmetic_over_shapes_may_be_the_processors() -> None:
    ort_cuda.check_placement(CUDA_PROVIDER, {CPU_PROVIDER: ["Shape", "Gather"], CUDA_PROVIDER: ["Conv"]}, "1.32.0")


def test_a_run_that_fails_on_the_gpu_is_one_line_and_does_not_go_on_elsewhere(library: Ort, bundle: Bundle) -> None:
    with closing(open_backend("ort", bundle)) as backend:
        library.cuda.left_bytes = WORKSPACE_BYTES - 1
        with pytest.raises(BackendError, match=r"GTX 1650 is out of memory on 1 x 4 .* --max-memory 0\.0GB") as caught:
            backend.labels(_windows())
        assert "\n" not in str(caught.value)


def test_without_cuda_python_it_is_said_what_to_install(
    library: Ort, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ssa_fast.backends.cuda")
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)  # what Python does for a module that is not there
    with pytest.raises(BackendUnavailable, match=r"needs cuda-python: pip install 'ssa-fast\[gpu\]'"):
        open_backend("ort", bundle)


@pytest.mark.parametrize(
    ("arithmetic", "gpu", "capability", "words"),
    [
        ("float16", "NVIDIA GeForce GTX 1650", (7, 5), "GTX 1650 has no tensor cores"),
        ("float16", "NVIDIA GeForce GTX 1080", (6, 1), "GTX 1080 has no tensor cores"),
        ("float16", "Tesla T4", (7, 5), ""),
        ("float32", "NVIDIA GeForce GTX 1650", (7, 5), ""),
    ],
)
def test_a_bundle_runs_only_in_what_the_gpu_does_well(
    arithmetic: Arithmetic, gpu: str, capability: tuple[int, int], words: str, bundle: Bundle
) -> None:
    form = dataclasses.replace(bundle, arithmetic=arithmetic)
    if not words:
        ort_cuda.check_arithmetic(form, gpu, capability)
        return
    with pytest.raises(ArithmeticUnavailable, match=words):
        ort_cuda.check_arithmetic(form, gpu, capability)


def test_a_float16_bundle_is_refused_on_a_card_that_only_claims_to_be_fast(library: Ort, bundle: Bundle) -> None:
    half = dataclasses.replace(bundle, arithmetic="float16")
    with pytest.raises(ArithmeticUnavailable, match="take the float32 bundle"):
        open_backend("ort", half)
    library.cuda.gpu.name = b"Tesla T4"
    with closing(open_backend("ort", half)) as backend:
        assert backend.device.precision == "float16"


@pytest.mark.gpu
def test_a_real_gpu_gives_the_labels_of_the_processor(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssa_fast.doctor.self_test import brain_trial
    from ssa_fast.pretrained import shipped_bundle

    if not hardware.has_nvidia_driver() or CUDA_PROVIDER not in onnxruntime.get_available_providers():
        pytest.skip("no CUDA GPU, or an onnxruntime that is not built for one: extra `gpu`")
    lite, proof = read_bundle(shipped_bundle("lite")), brain_trial()
    with closing(open_backend("ort", lite)) as on_gpu, monkeypatch.context() as patch:
        free = on_gpu.free_bytes()
        patch.setattr(hardware, "has_nvidia_driver", lambda: False)
        with closing(open_backend("ort", lite)) as on_cpu:
            parity = compare("the processor", answers_of(on_cpu, [proof]), on_gpu, LIMITS["float32"])
        assert parity.has_passed, parity.shortcomings
        assert not on_gpu.footprint.is_host
        assert free is not None
        assert (on_gpu.free_bytes() or 0) > free - 2**28  # what a brain took was given back, libraries stay
