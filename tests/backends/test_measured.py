"""Which way runs a network on a GPU, by ways that are none: their answers and times are set by the test."""

from __future__ import annotations

import dataclasses
import json
import logging
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from ssa_fast import backends
from ssa_fast.backends import measured, open_backend
from ssa_fast.backends.base import Footprint
from ssa_fast.backends.measured import MeasuredBackend, Way
from ssa_fast.errors import BackendError, BundleError
from ssa_fast.model.bundle import read_bundle
from ssa_fast.volume.geometry import FloatArray
from tests.backends.paced import Paced, brain, with_another_label
from tests.infer.fakes import BrightnessBackend


class Room:
    """Ways with set times, and what was opened of them."""

    def __init__(self, clock: list[float], **seconds: float) -> None:
        """`plain=1.0, bf16=0.5, bf16_graph=0.4`: a way behind a kind's name takes that one's place."""
        self.backends = {name: Paced(clock, "float32" if name == "plain" else "bf16", s) for name, s in seconds.items()}
        for name, backend in self.backends.items():
            backend.device = dataclasses.replace(backend.device, engine=name)
        self.clock, self.opening_s = clock, 0.0
        self.opened: list[str] = []
        self.unusable: set[str] = set()
        self.waits = {"graph": 10.0, "compiled": 100.0}

    def ways(self) -> list[Way]:
        return [
            Way(
                name=name,
                open=lambda name=name: self._open(name),  # type: ignore[misc]
                base=name.rpartition("_")[0],
                wait_s=self.waits.get(name.rpartition("_")[2], 0.0),
            )
            for name in self.backends
        ]

    def _open(self, name: str) -> Paced:
        self.opened.append(name)
        self.clock[0] += self.opening_s
        if name in self.unusable:
            raise BackendError(f"{name} does not run here")
        return self.backends[name]

    def runs(self) -> dict[str, int]:
        return {name: backend.runs for name, backend in self.backends.items()}

    def chosen(self, windows: FloatArray | None = None, cache: Path | None = None) -> str:
        return self.chosen_by(MeasuredBackend(self.ways(), "abc", cache), windows)

    def chosen_by(self, backend: MeasuredBackend, windows: FloatArray | None = None) -> str:
        given = brain() if windows is None else windows
        np.testing.assert_array_equal(backend.labels(given), BrightnessBackend().labels(given))
        return backend.device.engine


@pytest.mark.parametrize(
    ("bf16", "last", "wanted"),
    [
        (0.5, 0.4, "last"),
        (0.5, 0.47, "bf16"),  # not 1.1 times as fast as bf16
        (0.95, 0.95, "plain"),
        (0.95, 0.8, "last"),
        (3.0, 3.0, "plain"),
    ],
)
def test_the_fastest_way_is_taken_where_it_is_a_tenth_faster(
    clock: list[float], bf16: float, last: float, wanted: str
) -> None:
    assert Room(clock, plain=1.0, bf16=bf16, last=last).chosen() == wanted


def test_a_fast_way_with_other_labels_or_infinite_logits_is_passed_by(clock: list[float]) -> None:
    room = Room(clock, plain=1.0, wrong=0.1, infinite=0.1, right=0.5)
    room.backends["wrong"].spoil = with_another_label(0.01)
    room.backends["infinite"].spoil = lambda logits: logits + np.inf
    assert room.chosen() == "right"
    assert [room.backends[name].times_let_go for name in room.backends] == [1, 1, 1, 0]


def test_a_shape_is_tried_once_and_another_one_for_itself(clock: list[float]) -> None:
    room = Room(clock, plain=1.0, bf16=0.5)
    backend = MeasuredBackend(room.ways(), "abc")
    room.chosen_by(backend)
    seen = room.runs()
    room.chosen_by(backend)
    assert room.runs() == {"plain": seen["plain"], "bf16": seen["bf16"] + 1}
    room.chosen_by(backend, brain(16, 32, 32))
    assert room.runs()["plain"] == 2 * seen["plain"]


def test_where_there_is_no_brain_nothing_is_tried(clock: list[float]) -> None:
    room = Room(clock, plain=1.0, bf16=0.5)
    backend = MeasuredBackend(room.ways(), "abc")
    assert room.chosen_by(backend, np.zeros_like(brain())) == "plain"
    assert room.runs() == {"plain": 1, "bf16": 0}
    assert room.chosen_by(backend) == "bf16"


def test_what_is_dear_waits_until_a_shape_has_run_as_long_as_its_trial_takes(clock: list[float]) -> None:
    room = Room(clock, plain=4.0, bf16=2.0, bf16_graph=1.0, plain_compiled=0.1, bf16_compiled=0.5)
    backend = MeasuredBackend(room.ways(), "abc")
    assert room.opened == ["plain", "bf16"]
    chosen = [room.chosen_by(backend) for _ in range(5 + 90 + 1)]
    assert chosen == [*["bf16"] * 5, *["bf16_graph"] * 90, "bf16_compiled"]
    assert room.runs()["plain_compiled"] == 0  # of a kind that lost
    assert room.opened == ["plain", "bf16", "bf16_graph", "bf16_compiled"]
    assert room.backends["bf16_graph"].times_let_go == 1  # the compiled way took its place


def test_what_was_seen_is_kept_for_the_next_process_refusals_too(clock: list[float], tmp_path: Path) -> None:
    seconds = {"plain": 1.0, "slow": 3.0, "bf16": 0.5}
    assert Room(clock, **seconds).chosen(cache=tmp_path) == "bf16"
    kept = json.loads((tmp_path / measured._FILE).read_text())
    assert [(", abc, slow, 1 x 4 x 16 x 16 x 32" in key, entry["speed"]) for key, entry in kept.items()] == [
        (True, pytest.approx(1 / 3)),
        (False, 2.0),
    ]
    again = Room(clock, **seconds)
    assert again.chosen(cache=tmp_path) == "bf16"
    assert again.runs() == {"plain": 0, "slow": 0, "bf16": 1}


def test_a_known_way_waits_no_longer_than_it_was_seen_to_take(clock: list[float], tmp_path: Path) -> None:
    def first_used(room: Room) -> int:
        backend = MeasuredBackend(room.ways(), "abc", tmp_path)
        chosen = [room.chosen_by(backend) for _ in range(60)]
        return chosen.index("plain_compiled")

    room = Room(clock, plain=2.0, plain_compiled=1.0)
    room.opening_s = 6.0
    assert first_used(room) == 50
    again = Room(clock, plain=2.0, plain_compiled=1.0)
    assert first_used(again) == 4  # to open it took 6 s, and its two first runs 2 s
    assert again.backends["plain_compiled"].runs == 56


def test_a_way_that_cannot_be_run_is_passed_by_and_tried_again_by_the_next_process(
    clock: list[float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    room = Room(clock, plain=20.0, plain_graph=1.0)
    room.unusable = {"plain_graph"}
    backend = MeasuredBackend(room.ways(), "abc", tmp_path)
    assert [room.chosen_by(backend) for _ in range(3)] == ["plain"] * 3
    assert room.opened == ["plain", "plain_graph"]
    assert "plain_graph cannot be tried: plain_graph does not run here" in caplog.text
    room.unusable = set()
    backend = MeasuredBackend(room.ways(), "abc", tmp_path)
    assert [room.chosen_by(backend) for _ in range(2)] == ["plain", "plain_graph"]


def test_a_way_that_fails_later_gives_back_its_place_and_its_memory_and_says_so(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    room = Room(clock, plain=40.0, bf16=20.0, bf16_graph=1.0)
    backend = MeasuredBackend(room.ways(), "abc")
    assert [room.chosen_by(backend) for _ in range(2)] == ["bf16", "bf16_graph"]

    def fail(logits: FloatArray) -> FloatArray:
        raise BackendError("out of memory")

    room.backends["bf16_graph"].spoil = fail
    assert [room.chosen_by(backend) for _ in range(2)] == ["bf16"] * 2
    assert room.backends["bf16_graph"].is_closed
    assert "bf16_graph: out of memory: from now on it runs by bf16" in caplog.text
    room.backends["bf16"].spoil = fail  # other arithmetic is no way out
    with pytest.raises(BackendError, match="out of memory"):
        backend.labels(brain())


def test_a_plain_way_that_cannot_be_opened_is_an_error() -> None:
    def broken() -> Paced:
        raise BundleError("weights do not fit")

    with pytest.raises(BundleError, match="weights do not fit"):
        MeasuredBackend([Way(name="plain", open=broken)], "abc")


def test_a_faster_way_that_cannot_be_opened_leaves_the_others(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    room = Room(clock, plain=20.0, bf16=0.1, bf16_graph=0.05, last=10.0)
    room.unusable = {"bf16"}
    backend = MeasuredBackend(room.ways(), "abc")
    assert "bf16 cannot be opened: bf16 does not run here" in caplog.text
    assert [room.chosen_by(backend) for _ in range(3)] == ["last"] * 3
    assert room.opened == ["plain", "bf16", "last"]


def test_the_plan_counts_all_that_is_open_and_the_trial_in_float32(clock: list[float]) -> None:
    room = Room(clock, plain=40.0, bf16=20.0, bf16_graph=1.0)
    backend = MeasuredBackend(room.ways(), "abc")
    assert backend.footprint == Footprint(held_bytes=500, share=1.5, is_host=False)
    graph = room.backends["bf16_graph"]
    graph.footprint = Footprint(
        held_bytes=0, share=1.0, is_host=False, keeps_buffers=True, kept_bytes=70, is_kept_apart=True
    )
    for _ in range(2):
        backend.labels(brain())
    assert backend.footprint == Footprint(
        held_bytes=500, share=1.5, is_host=False, keeps_buffers=True, kept_bytes=70, is_kept_apart=True
    )
    assert backend.free_bytes() is None
    graph.free_bytes = lambda: 80  # type: ignore[method-assign]
    room.backends["bf16"].free_bytes = lambda: 10  # type: ignore[method-assign]
    assert backend.free_bytes() == 80
    backend.close()
    assert all(one.is_closed for one in room.backends.values())


def test_only_auto_is_tried_and_only_where_there_is_a_choice(
    clock: list[float], tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, bundle = Room(clock, plain=1.0, bf16=0.5), read_bundle(tiny_bundle_path)
    module = types.SimpleNamespace(
        PRECISIONS=("float32", "bf16"),
        ways=lambda bundle: room.ways(),
        open_bundle=lambda bundle, precision: room.backends["plain"],
    )
    monkeypatch.setattr(backends, "_module", lambda name: module)
    opened = open_backend("torch", bundle, "auto", tmp_path)
    assert isinstance(opened, MeasuredBackend)
    assert str(opened.device).startswith("plain (faster ways by trial) in float32 on ")
    opened.labels(brain())
    assert all(bundle.sha256 in key for key in json.loads((tmp_path / measured._FILE).read_text()))
    assert isinstance(open_backend("torch", bundle, "bf16"), Paced)
    module.ways = lambda bundle: []
    assert isinstance(open_backend("torch", bundle, "auto"), Paced)


@pytest.mark.gpu
def test_a_real_gpu_finds_a_way_with_the_labels_of_float32(tmp_path: Path) -> None:
    from ssa_fast.doctor.self_test import brain_trial
    from ssa_fast.export.parity import LIMITS, answers_of, compare
    from ssa_fast.pretrained import shipped_bundle

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    lite, proof = read_bundle(shipped_bundle("lite")), brain_trial()
    full, chosen = open_backend("torch", lite, "float32"), open_backend("torch", lite, "auto", tmp_path)
    for _ in range(5):
        chosen.labels(proof.windows)
    parity = compare("float32", answers_of(full, [proof]), chosen, LIMITS["bf16"])
    assert parity.has_passed, parity.shortcomings
    assert json.loads((tmp_path / measured._FILE).read_text())
    print(chosen.device, chosen.footprint)  # noqa: T201 - for who runs it with -s
    chosen.close()
    full.close()
