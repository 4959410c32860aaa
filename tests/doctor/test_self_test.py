"""The self-test: it passes what is right, and fails what is wrong, broken or not a number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssa_fast import hardware
from ssa_fast.backends import available_backends
from ssa_fast.backends.onnxruntime import OrtBackend
from ssa_fast.doctor import self_test as module
from ssa_fast.doctor.self_test import BRAIN, SMALL, Check, brain_trial, reference_backend, self_test, small_trial
from ssa_fast.errors import BackendError, BackendUnavailable
from ssa_fast.export.parity import Proof
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.geometry import FloatArray

TINY = Proof(
    name="tiny",
    windows=np.random.default_rng(0).standard_normal((1, 4, 16, 16, 16), dtype=np.float32),
    foreground=np.ones((16, 16, 16), dtype=np.bool_),
)


@pytest.fixture(scope="module")
def bundle(tiny_bundle_path: Path) -> Bundle:
    return read_bundle(tiny_bundle_path)


def test_every_backend_and_precision_is_tried_and_good(bundle: Bundle) -> None:
    checks = list(self_test(bundle, [TINY]))
    assert {check.backend for check in checks} == set(available_backends())
    assert not any(check.is_failed for check in checks), checks
    for check in checks:
        if not check.is_skipped:
            assert check.trial == "tiny"
            assert check.seconds is not None
            assert check.seconds > 0
    assert {check.precision for check in checks if check.backend == "openvino"} == {"float32", "bf16"}


def _upside_down(logits: FloatArray) -> FloatArray:
    return -logits


def _not_finite(logits: FloatArray) -> FloatArray:
    logits[0, 0, 0, 0, 0] = -np.inf  # loses against every other label, so the labels are the same
    return logits


def _nan(logits: FloatArray) -> FloatArray:
    return logits * np.nan


@pytest.mark.parametrize("spoil", [_upside_down, _not_finite, _nan])
def test_a_wrong_answer_fails(
    spoil: Callable[[FloatArray], FloatArray], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OrtBackend.logits
    monkeypatch.setattr(OrtBackend, "logits", lambda self, windows: spoil(right(self, windows)))
    assert {check.backend for check in self_test(bundle, [TINY]) if check.is_failed} == {"ort"}


def test_an_engine_that_fails_is_a_failed_check_with_its_words(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: OrtBackend, windows: FloatArray) -> FloatArray:
        raise BackendError("no memory was left")

    monkeypatch.setattr(OrtBackend, "logits", fail)
    [failed] = [check for check in self_test(bundle, [TINY]) if check.is_failed]
    assert (failed.backend, failed.trial, failed.problem) == ("ort", "tiny", "no memory was left")


def test_an_engine_that_cannot_be_opened_is_a_failed_check(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    truly = module.open_backend

    def open_backend(name: str, *arguments: object) -> object:
        if name == "ort":
            raise BackendUnavailable("both installed")
        return truly(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "open_backend", open_backend)
    [failed] = [check for check in self_test(bundle, [TINY]) if check.is_failed]
    assert (failed.backend, failed.trial, failed.problem) == ("ort", "", "both installed")


def test_a_precision_that_the_processor_lacks_is_not_run_and_no_failure(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "cpu", lambda: hardware.Cpu(name="old", threads=1, flags=frozenset({"avx2"})))
    skipped = [check for check in self_test(bundle, [TINY]) if check.is_skipped and check.backend == "openvino"]
    assert [check.precision for check in skipped] == ["bf16"]
    assert "has no bf16 instructions" in skipped[0].problem
    assert not skipped[0].is_failed


@pytest.mark.parametrize(
    ("installed", "reference"),
    [(("openvino", "torch", "ort"), "torch"), (("openvino", "ort"), "ort"), (("openvino",), "openvino")],
)
def test_the_reference_is_torch_else_onnx_runtime(
    installed: tuple[str, ...], reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_backends", lambda: installed)
    assert reference_backend() == reference


def test_without_an_engine_there_is_nothing_to_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_backends", lambda: ())
    with pytest.raises(BackendUnavailable, match=r"pip install 'ssa-fast\[cpu\]'"):
        reference_backend()


def test_the_small_trial_is_noise_and_the_same_every_time() -> None:
    trial = small_trial(4)
    assert trial.windows.shape == (1, 4, *SMALL)
    assert trial.foreground.all()
    assert np.array_equal(trial.windows, small_trial(4).windows)


def test_the_brain_trial_is_a_normalized_brain_in_a_box_of_full_size() -> None:
    trial = brain_trial()
    assert trial.windows.shape == (1, 4, *BRAIN)
    assert trial.foreground.shape == BRAIN
    assert 0.3 < trial.foreground.mean() < 0.7
    for channel in trial.windows[0]:
        inside = channel[channel != 0]
        assert inside.mean() == pytest.approx(0, abs=1e-3)
        assert inside.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "is_failed"),
    [
        ({}, False),
        ({"label_agreement": 0.998}, True),
        ({"largest_logit_error": float("inf")}, True),
        ({"largest_logit_error": float("nan")}, True),
        ({"label_agreement": None}, True),
        ({"problem": "broke"}, True),
        ({"problem": "cannot", "is_skipped": True}, False),
    ],
)
def test_a_check_fails_by_its_labels_its_logits_or_its_problem(changes: dict[str, object], is_failed: bool) -> None:
    good = Check(
        backend="ort", precision="float32", trial="x", label_agreement=0.999, largest_logit_error=1, needed=0.999
    )
    assert dataclasses.replace(good, **changes).is_failed is is_failed
