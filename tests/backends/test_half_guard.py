"""When float16 may be used on a GPU, by backends that are none: their answers and times are set by the test."""

from __future__ import annotations

import json
import types
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from ssa_fast import backends
from ssa_fast.backends import half_guard, open_backend
from ssa_fast.backends.base import Choice, Footprint
from ssa_fast.backends.half_guard import GuardedBackend
from ssa_fast.errors import ArithmeticUnavailable, ConfigError, NumericsError
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.geometry import FloatArray
from tests.backends.paced import Paced, brain, with_another_label
from tests.infer.fakes import BrightnessBackend


@pytest.fixture
def pair(clock: list[float]) -> tuple[Paced, Paced]:
    return Paced(clock, "float32", 1.5), Paced(clock, "float16", 1.0)


def test_float16_that_is_right_and_pays_is_used_and_tried_once_a_shape(pair: tuple[Paced, Paced]) -> None:
    full, half = pair
    guarded = GuardedBackend(full, half, "here")
    np.testing.assert_array_equal(guarded.labels(brain()), BrightnessBackend().labels(brain()))
    assert full.runs > 0
    seen = full.runs
    guarded.labels(brain(seed=1))
    guarded.logits(brain(seed=2))
    assert full.runs == seen
    guarded.labels(brain(16, 32, 32))
    assert full.runs == 2 * seen
    guarded.close()
    assert (full.is_closed, half.is_closed) == (True, True)


def test_float16_that_is_too_slow_is_refused_with_what_was_seen(clock: list[float]) -> None:
    guarded = GuardedBackend(Paced(clock, "float32", 1.0), Paced(clock, "float16", 4.0), "here")
    wanted = r"float16 on NVIDIA GeForce GTX 1650 .*: 0\.25 times as fast as float32, wanted 1\.1: take --precision fl"
    for run in (guarded.labels, guarded.logits):
        with pytest.raises(ArithmeticUnavailable, match=wanted) as caught:
            run(brain())
        assert "\n" not in str(caught.value)


def test_labels_are_counted_over_the_brain_alone(pair: tuple[Paced, Paced]) -> None:
    full, half = pair
    half.spoil = with_another_label(0.0005)
    GuardedBackend(full, half, "here").labels(brain())
    half.spoil = with_another_label(0.0015)  # 0.08 % of all voxels
    with pytest.raises(ArithmeticUnavailable, match=r"equal labels on 99\.8\d+% of the brain"):
        GuardedBackend(full, half, "here").labels(brain())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_logit_that_is_not_finite_is_enough(value: float, pair: tuple[Paced, Paced]) -> None:
    full, half = pair

    def spoil(logits: FloatArray) -> FloatArray:
        logits[0, 0, 3, 3, 3] = value
        return logits

    half.spoil = spoil
    with pytest.raises(ArithmeticUnavailable, match="not finite"):
        GuardedBackend(full, half, "here").labels(brain())


def test_a_float32_network_that_gives_nan_is_no_verdict_on_float16(pair: tuple[Paced, Paced]) -> None:
    full, half = pair
    full.spoil = lambda logits: logits * np.float32(np.nan)
    with pytest.raises(NumericsError):
        GuardedBackend(full, half, "here").labels(brain())


def test_where_there_is_no_brain_nothing_is_tried(pair: tuple[Paced, Paced]) -> None:
    full, half = pair
    guarded = GuardedBackend(full, half, "here")
    guarded.labels(np.zeros_like(brain()))
    assert full.runs == 0
    guarded.labels(brain())
    assert full.runs > 0


def test_a_verdict_is_kept_for_the_same_circumstances_and_shape(
    clock: list[float], pair: tuple[Paced, Paced], tmp_path: Path
) -> None:
    GuardedBackend(*pair, "driver 580", tmp_path).labels(brain())
    GuardedBackend(*pair, "driver 580", tmp_path).labels(brain(16, 32, 32))  # beside the first
    for where, shape, is_tried in (
        ("driver 580", (16, 16, 32), False),
        ("driver 580", (16, 32, 32), False),
        ("driver 581", (16, 16, 32), True),
        ("driver 580", (32, 16, 32), True),
    ):
        full, half = Paced(clock, "float32", 1.5), Paced(clock, "float16", 1.0)
        GuardedBackend(full, half, where, tmp_path).labels(brain(*shape))
        assert (full.runs > 0) is is_tried, (where, shape)


def test_a_refusal_is_kept_until_another_driver_comes_or_its_file_is_removed(
    clock: list[float], tmp_path: Path
) -> None:
    def guarded(where: str, seconds: float) -> tuple[GuardedBackend, Paced]:
        half = Paced(clock, "float16", seconds)
        return GuardedBackend(Paced(clock, "float32", 1.5), half, where, tmp_path), half

    with pytest.raises(ArithmeticUnavailable):
        guarded("driver 580", 1.5)[0].labels(brain())
    again, half = guarded("driver 580", 1.0)  # what slowed it has gone, but it is not asked
    with pytest.raises(ArithmeticUnavailable, match=r"1\.00 times as fast .*, or remove .*float16\.json"):
        again.labels(brain())
    assert half.runs == 0
    guarded("driver 581", 1.0)[0].labels(brain())
    with pytest.raises(ArithmeticUnavailable):
        guarded("driver 580", 1.0)[0].labels(brain())
    (tmp_path / "float16.json").unlink()
    guarded("driver 580", 1.0)[0].labels(brain())


def test_a_much_slower_float16_is_run_no_more_often_than_it_takes_to_see_that(clock: list[float]) -> None:
    half = Paced(clock, "float16", 20.0)
    with pytest.raises(ArithmeticUnavailable, match=r"0\.05 times as fast"):
        GuardedBackend(Paced(clock, "float32", 1.0), half, "here").labels(brain())
    assert half.runs == 4  # logits, labels, and one pair of runs after a warm-up


def test_the_plan_counts_the_trial_in_float32(pair: tuple[Paced, Paced]) -> None:
    assert GuardedBackend(*pair, "here").footprint == Footprint(held_bytes=500, share=1.5, is_host=False)


def test_float16_is_never_opened_without_its_guard(
    clock: list[float], tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_bundle(bundle: Bundle, precision: Choice) -> Paced:
        return Paced(clock, precision, {"float32": 1.5, "float16": 1.0}[precision])

    module = types.SimpleNamespace(PRECISIONS=("float32", "float16"), open_bundle=open_bundle)
    monkeypatch.setattr(backends, "_module", lambda name: module)
    bundle = read_bundle(tiny_bundle_path)
    opened = open_backend("torch", bundle, "float16", tmp_path)
    assert isinstance(opened, GuardedBackend)
    assert opened.device.precision == "float16"
    opened.labels(brain())
    [key] = json.loads((tmp_path / half_guard._FILE).read_text())
    assert bundle.sha256 in key
    assert isinstance(open_backend("torch", bundle, "float32"), Paced)


def test_float16_on_a_processor_is_refused(tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="is a processor, float16 is for GPUs: take --precision auto"):
        open_backend("torch", read_bundle(tiny_bundle_path), "float16")


@pytest.mark.gpu
def test_a_real_gpu_that_passes_gives_the_labels_of_float32() -> None:
    from ssa_fast.doctor.self_test import brain_trial
    from ssa_fast.export.parity import LIMITS, answers_of, compare
    from ssa_fast.pretrained import shipped_bundle

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    lite, proof = read_bundle(shipped_bundle("lite")), brain_trial()
    full, guarded = open_backend("torch", lite, "float32"), open_backend("torch", lite, "float16")
    with closing(full), closing(guarded):
        try:
            guarded.labels(proof.windows)
        except ArithmeticUnavailable as error:
            pytest.skip(str(error))
        parity = compare("float32", answers_of(full, [proof]), guarded, LIMITS["float16"])
    assert parity.has_passed, parity.shortcomings
