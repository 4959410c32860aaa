"""What engines say of themselves, by engines that are none."""

from __future__ import annotations

import sys
import warnings
from importlib import metadata, util
from types import SimpleNamespace

import pytest
import torch

from ssa_fast.backends import probe
from ssa_fast.backends.probe import (
    CUDA_PROVIDER,
    OrtFacts,
    installed_packages,
    probe_onnxruntime,
    probe_torch,
    without_folders,
)

LISTED = [CUDA_PROVIDER, "CPUExecutionProvider"]


class FakeOrt(SimpleNamespace):
    """As much of ONNX Runtime as is asked; a session runs on `runs_on`, and says so on stdout when it moves."""

    def __init__(self, listed: list[str], runs_on: str) -> None:
        super().__init__(__version__="1.32.0", asked=[])
        self.get_available_providers = lambda: listed
        self.SessionOptions = SimpleNamespace
        self.preload_dlls = lambda: sys.stdout.write("cannot find libcublas")
        self.runs_on = runs_on

    def InferenceSession(self, content: bytes, options: object, providers: list[str]) -> SimpleNamespace:  # noqa: N802
        sys.stdout.write("EP Error, falling back")
        self.asked.append(providers)
        return SimpleNamespace(get_providers=lambda: [self.runs_on])


@pytest.mark.parametrize("runs_on", LISTED)
def test_a_session_that_asks_for_cuda_tells_where_it_runs_and_prints_nothing(
    runs_on: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeOrt(LISTED, runs_on)
    monkeypatch.setitem(sys.modules, "onnxruntime", engine)
    monkeypatch.setattr(util, "find_spec", lambda name: name)
    assert probe_onnxruntime() == OrtFacts(version="1.32.0", providers=tuple(LISTED), cuda_session=runs_on)
    assert engine.asked == [LISTED]
    assert capsys.readouterr().out == ""


def test_where_cuda_is_not_listed_no_session_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeOrt(["CPUExecutionProvider"], "CPUExecutionProvider")
    monkeypatch.setitem(sys.modules, "onnxruntime", engine)
    monkeypatch.setattr(util, "find_spec", lambda name: name)
    facts = probe_onnxruntime()
    assert facts is not None
    assert (facts.cuda_session, engine.asked) == ("", [])


def test_what_is_left_of_an_engine_after_half_of_it_was_removed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(__version__="1.0"))
    monkeypatch.setattr(util, "find_spec", lambda name: name)
    facts = probe_onnxruntime()
    assert facts is not None
    assert "get_available_providers" in facts.error


def test_an_engine_that_is_not_installed_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    assert (probe_torch(), probe_onnxruntime()) == (None, None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("/home/ada lovelace/env/lib/libcudnn.so.9: cannot open\nmore"), "libcudnn.so.9: cannot open"),
        (ImportError(r"C:\Users\ada\torch\lib\shm.dll is missing"), "shm.dll is missing"),
        (ImportError("DLL load failed"), "DLL load failed"),
        (ImportError(), "cannot be imported"),
    ],
)
def test_an_engine_that_cannot_be_imported_says_why_without_folders(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def import_module(name: str) -> None:
        raise error

    monkeypatch.setattr(probe.importlib, "import_module", import_module)
    facts = probe_torch()
    assert facts is not None
    assert facts.error == said


def test_torch_tells_its_build_its_gpu_and_what_it_said_while_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_available() -> bool:
        warnings.warn("The NVIDIA driver on your system is too old\nupdate it", UserWarning, stacklevel=1)
        return False

    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    facts = probe_torch()
    assert facts is not None
    assert (facts.version, facts.cuda, facts.cudnn, facts.gpu) == ("2.9.1+cu128", "12.8", "9.10.2", "")
    assert facts.warning == "The NVIDIA driver on your system is too old"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    facts = probe_torch()
    assert facts is not None
    assert (facts.gpu, facts.capability, facts.warning) == ("Tesla T4", (7, 5), "")


def test_libraries_that_do_not_fit_each_other_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def version() -> int:
        raise RuntimeError("cuDNN version incompatibility\nmore")

    monkeypatch.setattr(torch.backends.cudnn, "version", version)
    facts = probe_torch()
    assert facts is not None
    assert facts.error == "cuDNN version incompatibility"


def test_packages_that_are_absent_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package != "numpy":
            raise metadata.PackageNotFoundError(package)
        return "2.4.6"

    monkeypatch.setattr(metadata, "version", version)
    assert installed_packages() == {"numpy": "2.4.6"}


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("/home/ann lee/brain.onnx: cannot be read", "brain.onnx: cannot be read"),
        (r"C:\Users\ann\brain.onnx: cannot be read", "brain.onnx: cannot be read"),
        ("take this and/or that, 12 GFLOP/s", "take this and/or that, 12 GFLOP/s"),
    ],
)
def test_folders_of_absolute_paths_are_left_out(text: str, without: str) -> None:
    assert without_folders(text) == without
