"""Votes of several networks and of mirrored brains, against plain loops."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from ssa_fast.backends.base import Device, Footprint
from ssa_fast.errors import ConfigError, NumericsError
from ssa_fast.infer.ensemble import Ensemble, mirrored
from ssa_fast.infer.plan import Wish, plan_case
from ssa_fast.model.spec import PRESETS, ModelSpec, gflop, live_values
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.postprocess import labels_from_logits
from ssa_fast.volume.probabilities import entropy, softmax
from tests.infer.fakes import SidedBackend

BRAIN = (140, 172, 138)


def _windows() -> FloatArray:
    return np.random.default_rng(1).normal(size=(2, 4, 24, 16, 8)).astype(np.float32)


def _by_loops(members: list[SidedBackend], axes: str) -> tuple[FloatArray, FloatArray]:
    """Mean probabilities (N, K, X, Y, Z); mean entropy and shares of votes for WT, TC and ET (N, 4, X, Y, Z)."""
    windows, shares, doubts = _windows(), [], []
    for member in members:
        for turned in itertools.product(*[(False, True)] * len(axes)):
            flip = [2 + "xyz".index(axis) for axis, is_turned in zip(axes, turned, strict=True) if is_turned]
            logits = np.flip(member.logits(np.flip(windows, flip)), flip)
            shares.append(np.stack([softmax(one) for one in logits]))
            labels = shares[-1].argmax(axis=1)
            regions = [labels > 0, (labels == 1) | (labels == 3), labels == 3]
            doubts.append(np.stack([np.stack([entropy(one) for one in shares[-1]]), *regions], axis=1))
    return np.mean(shares, axis=0), np.mean(doubts, axis=0)


@pytest.mark.parametrize("axes", ["", "x", "y", "xz", "xyz"])
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_the_answer_is_the_mean_of_all_votes_probabilities(axes: str, seeds: tuple[int, ...]) -> None:
    members = [SidedBackend(seed) for seed in seeds]
    wanted, doubt = _by_loops(members, axes)
    ensemble = Ensemble(members, axes)
    logits = ensemble.logits(_windows())
    np.testing.assert_allclose(np.exp(logits), wanted, atol=1e-6)
    assert ensemble.votes == len(seeds) * 2 ** len(axes)
    more = ensemble.logits_and_doubt(_windows())  # (N, K + DOUBTS, X, Y, Z)
    np.testing.assert_array_equal(more[:, :4], logits)
    np.testing.assert_allclose(more[:, 4:], doubt, atol=1e-6)


def test_flips_are_turned_back_and_change_the_answer() -> None:
    member = SidedBackend()
    alone = labels_from_logits(member.logits(_windows())[0])
    flipped = labels_from_logits(Ensemble([member], "y").logits(_windows())[0])
    assert 0.5 < (alone == flipped).mean() < 1


def test_equal_members_change_no_label() -> None:
    labels = [
        labels_from_logits(one.logits(_windows())[0])
        for one in (SidedBackend(), Ensemble([SidedBackend(), SidedBackend()]))
    ]
    np.testing.assert_array_equal(*labels)


def test_a_label_that_all_votes_rule_out_is_no_infinity() -> None:
    logits = Ensemble([SidedBackend(slope=1000)], "x").logits(_windows())
    assert np.isfinite(logits).all()


def test_nan_of_one_vote_is_seen() -> None:
    members = [SidedBackend(0), SidedBackend(1)]
    members[1].mixture[2, 2] = np.nan
    with pytest.raises(NumericsError, match="NaN logits"):
        labels_from_logits(Ensemble(members, "x").logits(_windows())[0])


@pytest.mark.parametrize("axes", ["w", "xx", "x,y", "0"])
def test_axes_that_are_not_are_refused(axes: str) -> None:
    with pytest.raises(ConfigError, match="wanted axes of the brain, each once, such as x or xyz"):
        Ensemble([SidedBackend()], axes)


def test_axes_come_in_any_order_and_case() -> None:
    assert Ensemble([SidedBackend()], "ZX").mirror == "xz"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modalities": ("t1c", "t1n", "t2w", "t2f")}, "read t1n t1c t2w t2f, and t1c t1n t2w t2f"),
        ({"labels": ("background", "ED", "NCR", "ET")}, "give the labels background NCR ED ET, and background ED NCR"),
        ({"preprocessing": "scaled"}, "were trained on volumes RAS, 1 mm.*, and scaled"),
    ],
)
def test_members_that_differ_are_refused(change: dict[str, Any], words: str) -> None:
    other = SidedBackend()
    other.spec = dataclasses.replace(other.spec, name="other", **change)
    with pytest.raises(ConfigError, match=f"'brightness' and 'other' {words}.*an ensemble needs them alike"):
        Ensemble([SidedBackend(), other])


def test_members_on_unlike_devices_are_refused() -> None:
    other = SidedBackend()
    other.device = Device(engine="numpy", name="none", precision="bf16")
    with pytest.raises(ConfigError, match="run by numpy in float32 on none, and numpy in bf16 on none"):
        Ensemble([SidedBackend(), other])


def test_a_backend_is_wrapped_only_for_axes_and_members_stay_votes() -> None:
    alone, pair = SidedBackend(), Ensemble([SidedBackend(0), SidedBackend(1)])
    assert mirrored(alone, "") is alone
    both = mirrored(mirrored(pair, "xy"), "")  # no axes do not undo those that there are
    assert isinstance(both, Ensemble)
    assert both.votes == 8
    both.logits(_windows())
    assert [member.calls for member in pair.members] == [4, 4]  # type: ignore[attr-defined]


def test_closing_closes_every_member() -> None:
    members = [SidedBackend(), SidedBackend()]
    Ensemble(members).close()
    assert all(member.is_closed for member in members)


class _KeepingBackend(SidedBackend):
    """Keeps its buffers until it is told to let go."""

    kept = 0  # by all of them
    most = 0

    def logits(self, windows: FloatArray) -> FloatArray:
        if not self.footprint.kept_bytes:
            type(self).kept += 1
        type(self).most = max(self.most, self.kept)
        self.footprint = dataclasses.replace(self.footprint, kept_bytes=1)
        return super().logits(windows)

    def let_go(self) -> None:
        type(self).kept -= 1
        self.footprint = dataclasses.replace(self.footprint, kept_bytes=0)


def test_members_hold_their_buffers_one_after_the_other_and_a_single_one_keeps_them() -> None:
    ensemble = Ensemble([_KeepingBackend(seed) for seed in range(3)], "x")
    ensemble.logits(_windows())
    assert (_KeepingBackend.most, ensemble.footprint.kept_bytes) == (1, 0)
    alone = Ensemble([_KeepingBackend()], "xyz")
    alone.logits(_windows())
    assert alone.footprint.kept_bytes == 1
    alone.let_go()
    assert alone.footprint.kept_bytes == 0


def _of(preset: str, held: int, share: float) -> SidedBackend:
    backend = SidedBackend()
    backend.spec = ModelSpec(name=preset, network=PRESETS[preset], window=(96, 96, 96))
    backend.footprint = Footprint(held_bytes=held, share=share)
    return backend


def test_buffers_that_a_member_alone_keeps_are_kept() -> None:
    member = SidedBackend()
    assert not Ensemble([member], "x").footprint.keeps_buffers
    member.footprint = dataclasses.replace(member.footprint, keeps_buffers=True, kept_bytes=7)
    assert Ensemble([member], "x").footprint.keeps_buffers
    assert Ensemble([member], "x").footprint.kept_bytes == 7
    assert not Ensemble([member, member], "x").footprint.keeps_buffers


def test_a_plan_tells_votes_arithmetic_and_memory() -> None:
    lite = _of("lite", 100, 1.0)
    alone = plan_case(BRAIN, lite.spec, Wish(), lite.footprint, pace=100.0)
    turned = Ensemble([lite], "xyz", has_doubt=True)
    plan = plan_case(BRAIN, turned.spec, Wish(), turned.footprint, pace=100.0)
    assert plan.votes == 8
    assert ", 8 votes each, " in str(plan)
    assert "votes" not in str(alone)
    assert plan.gflop == pytest.approx(8 * alone.gflop)
    assert plan.expected_seconds == pytest.approx(8 * alone.gflop / 100)
    beside = 4 * (4 + 4 + 4) * 144 * 176 * 144  # sums of four labels and four doubts, a mirrored copy of four images
    assert plan.peak_bytes == pytest.approx(alone.peak_bytes + beside, abs=2)


def test_members_of_unlike_size_cost_the_arithmetic_of_all_and_the_memory_of_the_largest() -> None:
    lite, reference = _of("lite", 100, 1.0), _of("reference", 200, 0.8)
    for members in ([lite, reference], [reference, lite]):
        ensemble = Ensemble(members)
        plan = plan_case(BRAIN, ensemble.spec, Wish(), ensemble.footprint)
        shape = (144, 176, 144)
        assert plan.gflop == pytest.approx(sum(gflop(PRESETS[name], shape) for name in ("lite", "reference")))
        values = 0.8 * live_values(PRESETS["reference"]) + 4
        assert plan.peak_bytes == pytest.approx(200 + 4 * values * 144 * 176 * 144, rel=1e-6)


def test_engines_of_ranges_are_given_windows_that_all_take() -> None:
    members = [_of("lite", 1, 1.0), _of("lite", 1, 1.0), _of("lite", 1, 1.0)]
    ranges = [((112, 128, 112), (176, 208, 176)), ((128, 112, 112), (160, 224, 176))]
    for member, shapes in zip(members, ranges, strict=False):
        member.footprint = dataclasses.replace(member.footprint, shapes=shapes, is_host=False)
    members[2].footprint = dataclasses.replace(members[2].footprint, is_host=False)
    footprint = Ensemble(members).footprint
    assert footprint.shapes == ((128, 128, 112), (160, 208, 176))
    assert footprint.held_bytes == 3  # engines on a device count their own
    members[2].footprint = dataclasses.replace(members[2].footprint, shapes=((64, 64, 64),))
    with pytest.raises(ConfigError, match="no shape of windows is taken by every engine"):
        _ = Ensemble(members).footprint
