"""The self-test: it passes what is right, and fails what is wrong, broken or not a number."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ssa_fast import hardware
from ssa_fast.backends import available_backends, open_backend
from ssa_fast.backends.manifest import Manifest, write_manifest
from ssa_fast.backends.onnxruntime import OrtBackend
from ssa_fast.doctor import self_test as module
from ssa_fast.doctor.self_test import (
    BRAIN,
    SMALL,
    Check,
    brain_trial,
    bundle_runs,
    engine_run,
    reference_backend,
    self_test,
    small_trial,
)
from ssa_fast.errors import BackendError, BackendUnavailable
from ssa_fast.export.convert import int8_form
from ssa_fast.export.engine_folder import Place
from ssa_fast.export.parity import LIMITS, Proof, answers_of
from ssa_fast.export.profile import read_profile
from ssa_fast.export.to_openvino import build_openvino
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.model.parity import Limits
from ssa_fast.model.roofline import Ceiling, network_roofline
from ssa_fast.volume.geometry import FloatArray

TINY = Proof(
    name="tiny",
    windows=np.random.default_rng(0).standard_normal((1, 4, 16, 16, 16), dtype=np.float32),
    foreground=np.ones((16, 16, 16), dtype=np.bool_),
)


PEAK = 1e9  # FLOP/s
CEILING = Ceiling(device=hardware.cpu().name, peaks={"float32": PEAK}, bandwidth=1e9, source="made up")


def checks_of(bundle: Bundle, reference: Bundle | None = None) -> Iterator[Check]:
    return self_test(bundle_runs(bundle), reference or bundle, [TINY], CEILING)


@pytest.fixture(scope="module")
def bundle(tiny_bundle_path: Path) -> Bundle:
    return read_bundle(tiny_bundle_path)


@pytest.fixture(scope="module")
def int8_bundle(bundle: Bundle) -> Bundle:
    with closing(open_backend("torch", bundle, "float32")) as reference:
        answers = answers_of(reference, [TINY])
    loose = Limits(label_agreement=0.5, dice_change=1.0)
    return int8_form(bundle, answers, lambda form: open_backend("ort", form), limits=loose).bundle


def test_every_backend_and_precision_is_tried_and_good(bundle: Bundle) -> None:
    checks = list(checks_of(bundle))
    assert {check.backend for check in checks} == set(available_backends())
    assert not any(check.is_failed for check in checks), checks
    for check in checks:
        if not check.is_skipped:
            assert check.trial == "tiny"
            assert check.seconds is not None
            assert check.seconds > 0
    assert {check.precision for check in checks if check.backend == "openvino"} == {"float32", "bf16"}


def test_speed_is_told_as_gflop_a_second_share_of_the_peak_and_times_the_reference(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock) / 2)  # every call takes half a second
    flop = network_roofline(bundle.spec.network, (16, 16, 16), CEILING).flop
    checks = [check for check in checks_of(bundle) if not check.is_skipped]
    assert len(checks) > 2
    for check in checks:
        assert (check.seconds, check.speed) == (0.5, 1.0)
        assert check.gflop_per_second == pytest.approx(2 * flop / 1e9)
        wanted = 2 * flop / PEAK if check.precision == "float32" else None  # no other peak was measured
        assert check.share_of_peak == (wanted if wanted is None else pytest.approx(wanted))


def test_no_share_is_told_of_another_devices_peak(bundle: Bundle) -> None:
    other = dataclasses.replace(CEILING, device="a GPU")
    checks = list(self_test(bundle_runs(bundle), bundle, [TINY], other))
    assert {check.share_of_peak for check in checks} == {None}


def test_what_infer_takes_is_marked(bundle: Bundle) -> None:
    marked = [(run.backend, run.precision) for run in bundle_runs(bundle, ("ort", "float32")) if run.is_default]
    assert marked == [("ort", "float32")]


def test_an_int8_bundle_is_held_against_float32_and_torch_is_passed_over(int8_bundle: Bundle, bundle: Bundle) -> None:
    checks = list(checks_of(int8_bundle, bundle))
    assert {check.precision for check in checks if not check.is_skipped} >= {"int8/float32"}
    passed_over = [check for check in checks if check.backend == "torch"]
    assert all(check.is_skipped and "which torch does not run" in check.problem for check in passed_over)
    assert passed_over
    assert {check.needed for check in checks if not check.is_skipped} == {LIMITS["int8"].label_agreement}
    assert all((check.largest_logit_error or 0) > 0 for check in checks if not check.is_skipped)


@pytest.mark.parametrize("is_strict", [False, True])
def test_an_engine_is_held_to_the_limits_of_its_record(is_strict: bool, bundle: Bundle, tmp_path: Path) -> None:
    folder, manifest = _openvino_engine(bundle, tmp_path)
    if is_strict:
        assert manifest.parity is not None
        strict = dataclasses.replace(manifest.parity, limits=Limits(logit_error=0.0))
        manifest = dataclasses.replace(manifest, parity=strict)
    [check] = self_test([engine_run(folder, manifest)], bundle, [TINY], CEILING)
    assert (check.backend, check.precision) == ("openvino", "float32")
    assert check.is_failed is is_strict
    assert ("largest logit error" in check.problem) is is_strict


def test_an_engine_of_another_machine_is_a_failed_check(bundle: Bundle, tmp_path: Path) -> None:
    folder, manifest = _openvino_engine(bundle, tmp_path)
    write_manifest(folder, dataclasses.replace(manifest, needs={"processor": "a VAX"}))
    [check] = self_test([engine_run(folder, manifest)], bundle, [TINY], CEILING)
    assert check.is_failed
    assert "was built for processor a VAX" in check.problem
    assert str(tmp_path) not in check.problem


def test_a_library_that_cannot_be_imported_is_a_failed_check(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ssa_fast.backends.onnxruntime", None)
    [failed] = [check for check in checks_of(bundle) if check.is_failed]
    assert (failed.backend, failed.precision, failed.trial) == ("ort", "float32", "")
    assert "backend 'ort' needs 'onnxruntime'" in failed.problem


def _openvino_engine(bundle: Bundle, root: Path) -> tuple[Path, Manifest]:
    profile = dataclasses.replace(read_profile("cpu_avx512"), precisions=("float32",))
    with closing(open_backend("torch", bundle, "float32")) as reference:
        answers = answers_of(reference, [TINY])
    return build_openvino(bundle, profile, "cpu_avx512", answers, Place(root=root), command="ssa-fast export tiny")


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
    assert {check.backend for check in checks_of(bundle) if check.is_failed} == {"ort"}


def test_an_engine_that_fails_is_a_failed_check_with_its_words(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: OrtBackend, windows: FloatArray) -> FloatArray:
        raise BackendError("no memory was left")

    monkeypatch.setattr(OrtBackend, "logits", fail)
    [failed] = [check for check in checks_of(bundle) if check.is_failed]
    assert (failed.backend, failed.trial, failed.problem) == ("ort", "tiny", "no memory was left")


def test_an_engine_that_cannot_be_opened_is_a_failed_check(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    truly = module.open_backend

    def open_backend(name: str, *arguments: object) -> object:
        if name == "ort":
            raise BackendUnavailable("both installed")
        return truly(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "open_backend", open_backend)
    [failed] = [check for check in checks_of(bundle) if check.is_failed]
    assert (failed.backend, failed.trial, failed.problem) == ("ort", "", "both installed")


def test_a_precision_that_the_processor_lacks_is_not_run_and_no_failure(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "cpu", lambda: hardware.Cpu(name="old", threads=1, flags=frozenset({"avx2"})))
    skipped = [check for check in checks_of(bundle) if check.is_skipped and check.backend == "openvino"]
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


def test_a_trial_has_the_shape_that_an_engine_takes() -> None:
    shape = (32, 48, 64)
    assert small_trial(4, shape).windows.shape == brain_trial(shape).windows.shape == (1, 4, *shape)
    assert brain_trial(shape).foreground.any()


def test_a_problem_is_a_failure_unless_the_run_was_passed_over() -> None:
    good = Check(backend="ort", precision="float32")
    assert not good.is_failed
    assert dataclasses.replace(good, problem="broke").is_failed
    assert not dataclasses.replace(good, problem="cannot", is_skipped=True).is_failed
