"""Opening a backend by name."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

import pytest
import torch

from ssa_fast import backends, hardware
from ssa_fast.backends.probe import OrtFacts
from ssa_fast.errors import BackendUnavailable, BundleError, ConfigError
from ssa_fast.model.bundle import read_bundle


def test_an_unknown_backend_is_refused_with_those_there_are(tiny_bundle_path: Path) -> None:
    with pytest.raises(ConfigError, match="no backend 'onnx': there are auto, openvino, torch, ort, trt"):
        backends.open_backend("onnx", read_bundle(tiny_bundle_path))


@pytest.mark.parametrize(
    ("name", "extra"), [("ort", r"cpu\].*gpu\]"), ("openvino", r"openvino\]"), ("torch", r"torch\]"), ("trt", r"trt\]")]
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    name: str, extra: str, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, library, _ = backends.BACKENDS[name]
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, library, None)  # what Python does for a module that is not there
    with pytest.raises(BackendUnavailable, match=f"backend '{name}' needs '{library}'.*{extra}"):
        backends.open_backend(name, read_bundle(tiny_bundle_path))


def test_a_precision_that_a_backend_does_not_have_is_refused(tiny_bundle_path: Path) -> None:
    with pytest.raises(ConfigError, match="'ort' computes in float32, not bf16"):
        backends.open_backend("ort", read_bundle(tiny_bundle_path), "bf16")


def test_bf16_is_refused_where_the_processor_has_none(tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = dataclasses.replace(hardware.cpu(), flags=frozenset({"avx2"}))
    monkeypatch.setattr(hardware, "cpu", lambda: plain)
    with pytest.raises(ConfigError, match="has no bf16 instructions"):
        backends.open_backend("openvino", read_bundle(tiny_bundle_path), "bf16")


@pytest.mark.parametrize(
    ("flags", "precision"), [(("avx512_bf16", "amx_bf16"), "bf16"), (("avx512_bf16",), "float32"), ((), "float32")]
)
@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_auto_takes_bf16_only_where_an_intel_processor_gains(
    name: str, flags: tuple[str, ...], precision: str, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = dataclasses.replace(hardware.cpu(), name="Intel Xeon", flags=frozenset(flags))
    monkeypatch.setattr(hardware, "cpu", lambda: processor)
    assert backends.open_backend(name, read_bundle(tiny_bundle_path)).device.precision == precision


def test_two_onnxruntimes_are_refused(tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda package: "1.0")
    with pytest.raises(BackendUnavailable, match="both installed"):
        backends.open_backend("ort", read_bundle(tiny_bundle_path))


@pytest.mark.parametrize(
    ("installed", "choice", "reason"),
    [
        (("openvino", "ort"), "openvino", "fastest on CPUs in our measurements; installed: openvino, ort"),
        (("torch", "ort"), "torch", "openvino not installed; installed: torch, ort"),
        (("ort",), "ort", "openvino and torch not installed"),
    ],
)
def test_auto_says_what_it_chose_and_why(
    installed: tuple[str, ...], choice: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "available_backends", lambda: installed)
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: False)
    name, why = backends.choose_backend()
    assert name == choice
    assert reason in why


def test_auto_takes_torch_where_it_computes_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "available_backends", lambda: ("openvino", "torch"))
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA GeForce GTX 1650")
    assert backends.choose_backend()[0] == "torch"
    assert "it computes on NVIDIA GeForce GTX 1650" in backends.choose_backend()[1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # a CPU-only torch beside a driver
    assert backends.choose_backend()[0] == "openvino"


def test_auto_takes_ort_where_it_alone_computes_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = OrtFacts(gpu="NVIDIA GeForce GTX 1650")
    monkeypatch.setattr(backends, "available_backends", lambda: ("openvino", "torch", "ort"))
    monkeypatch.setattr(backends, "probe_onnxruntime", lambda: facts)
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    name, why = backends.choose_backend()
    assert name == "ort"
    assert "it computes on NVIDIA GeForce GTX 1650" in why
    facts = OrtFacts(cuda_session="CPUExecutionProvider")
    assert backends.choose_backend()[0] == "openvino"
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(backends, "probe_onnxruntime", lambda: pytest.fail("asked without a driver"))
    assert backends.choose_backend()[0] == "openvino"


def test_auto_takes_no_backend_that_runs_no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda library: library)  # all are installed
    assert backends.available_backends() == ("openvino", "torch", "ort")
    monkeypatch.setattr(util, "find_spec", lambda library: library if library in ("onnxruntime", "tensorrt") else None)
    monkeypatch.setattr(hardware, "has_nvidia_driver", lambda: False)
    assert backends.choose_backend() == ("ort", "openvino and torch not installed; installed: ort")


def test_auto_without_any_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "available_backends", lambda: ())
    with pytest.raises(BackendUnavailable, match=r"pip install 'ssa-fast\[cpu\]'"):
        backends.choose_backend()


@pytest.mark.parametrize("name", ["ort", "openvino"])
def test_a_graph_that_an_engine_cannot_load_is_a_bundle_error(name: str, tiny_bundle_path: Path) -> None:
    broken = dataclasses.replace(read_bundle(tiny_bundle_path), content=b"\x08\x0a not a graph")
    with pytest.raises(BundleError, match="cannot load it") as caught:
        backends.open_backend(name, broken)
    assert "\n" not in str(caught.value)


def test_inference_imports_no_torch() -> None:
    code = (
        "import sys, ssa_fast.infer, ssa_fast.infer.cohort, ssa_fast.infer.segmenter, ssa_fast.backends\n"
        "assert 'torch' not in sys.modules and 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
