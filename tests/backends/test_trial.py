"""What a trial asks for and sees, by backends that are none, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssa_fast import hardware
from ssa_fast.backends.base import Device
from ssa_fast.backends.trial import Trial, Verdicts, circumstances, tried
from ssa_fast.hardware import Gpu, Gpus
from tests.backends.paced import Paced, brain, with_another_label

GOOD = Trial(is_finite=True, label_agreement=1.0, speed=1.5, opening_s=2.0)


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (GOOD, ()),
        (Trial(is_finite=True, label_agreement=0.999, speed=1.1), ()),
        (Trial(is_finite=False, label_agreement=1.0, speed=2.0), ("its logits are not finite",)),
        (
            Trial(is_finite=True, label_agreement=0.9989, speed=1.09),
            (
                "equal labels on 99.890% of the brain, wanted 99.9%",
                "1.09 times as fast as float32, wanted 1.1",
            ),
        ),
        (
            Trial(is_finite=True, label_agreement=float("nan"), speed=2.0),
            ("equal labels on nan% of the brain, wanted 99.9%",),
        ),
    ],
)
def test_a_way_must_be_finite_equal_and_a_tenth_faster(trial: Trial, words: tuple[str, ...]) -> None:
    assert trial.shortcomings == words


def test_a_trial_sees_speed_agreement_and_how_long_the_first_runs_took(clock: list[float]) -> None:
    full, other = Paced(clock, "float32", 3.0), Paced(clock, "bf16", 1.0)
    assert tried(full, other, brain()) == Trial(is_finite=True, label_agreement=1.0, speed=3.0, opening_s=2.0)
    other.spoil = with_another_label(0.25)
    assert tried(full, other, brain()).label_agreement == pytest.approx(0.75, abs=0.01)
    other.spoil = lambda logits: logits * np.float32(np.nan)
    assert tried(full, other, brain()) == Trial(is_finite=False, label_agreement=0.0, speed=0.0, opening_s=2.0)


def test_verdicts_are_known_by_their_key_and_by_the_next_process(tmp_path: Path) -> None:
    first, path = Verdicts(tmp_path, "ways.json"), tmp_path / "ways.json"
    assert (first.known("a"), first.path) == (None, path)
    first.keep("a", GOOD)
    slow = Trial(is_finite=True, label_agreement=1.0, speed=0.1)
    first.keep("b", slow)
    for verdicts in (first, Verdicts(tmp_path, "ways.json")):
        assert [verdicts.known(key) for key in ("a", "b", "c")] == [GOOD, slow, None]
    alone = Verdicts(None, "ways.json")
    alone.keep("a", GOOD)
    assert alone.known("a") == GOOD
    assert Verdicts(None, "ways.json").known("a") is None


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {"is_finite": True, "label_agreement": 1.0},
        {"is_finite": True, "label_agreement": 1.0, "speed": "fast"},
        {"is_finite": True, "label_agreement": 1.0, "speed": float("nan")},
        {"is_finite": True, "label_agreement": 1.0, "speed": 2.0, "opening_s": float("inf")},
        {"is_finite": True, "label_agreement": 1.0, "speed": 2.0, "unknown": 1},
    ],
)
def test_a_damaged_record_is_as_none(entry: object, tmp_path: Path) -> None:
    (tmp_path / "ways.json").write_text(json.dumps({"here": entry, "there": {**vars(GOOD)}}))
    verdicts = Verdicts(tmp_path, "ways.json")
    assert verdicts.known("here") is None
    assert verdicts.known("there") == GOOD


def test_a_cache_that_cannot_be_written_is_told_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    verdicts = Verdicts(tmp_path / "file", "ways.json")
    verdicts.keep("here", GOOD)
    assert "the next run tries again" in caplog.text
    assert verdicts.known("here") == GOOD


def test_circumstances_name_gpu_driver_engine_and_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(name="NVIDIA GeForce GTX 1650", capability=(7, 5), memory_bytes=2**32, free_bytes=2**32)
    monkeypatch.setattr(hardware, "find_gpus", lambda: Gpus(gpus=(gpu,), driver="580.95.05"))
    device = Device(engine="torch 2.10.0", name="NVIDIA GeForce GTX 1650", precision="float16")
    assert circumstances(device, "abc") == "NVIDIA GeForce GTX 1650, driver 580.95.05, torch 2.10.0, abc"
