"""The plan: pure arithmetic, so every number is held."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_fast.backends.base import Footprint, buffer_bytes
from ssa_fast.errors import BudgetError, ConfigError
from ssa_fast.infer.plan import Plan, Wish, plan_case
from ssa_fast.model.spec import PRESETS, ModelSpec, gflop
from ssa_fast.volume.windows import window_boxes

SPECS = {name: ModelSpec(name=name, network=config, window=(96, 96, 96)) for name, config in PRESETS.items()}
BRAIN = (140, 172, 138)
PLAIN = Footprint(held_bytes=0, share=1.0)
edges = st.integers(1, 240)
boxes = st.tuples(edges, edges, edges)


def _plan(box: tuple[int, int, int] = BRAIN, name: str = "lite", budget: int | None = None, **more: object) -> Plan:
    return plan_case(box, SPECS[name], Wish(budget_bytes=budget, **more), PLAIN)  # type: ignore[arg-type]


def test_a_real_brain_is_one_pass_of_its_box_padded_to_16() -> None:
    plan = _plan()
    assert (plan.shape, plan.window, plan.passes) == ((144, 176, 144), (144, 176, 144), 1)
    assert plan.gflop == pytest.approx(149.5, abs=0.05)
    assert "one pass of 144 x 176 x 144, 149 GFLOP" in str(plan)


def test_peak_memory_worked_by_hand() -> None:
    # lite, at full resolution: input 4 + (8 up + 4 input) in + 8 out + the larger of both again = 36 channels, and the
    # coarsest level's few
    assert _plan((16, 16, 16)).peak_bytes == pytest.approx((4 + 12 + 8 + 12) * 16**3 * 4, rel=0.01)


def test_what_the_engine_holds_and_takes_decides_the_peak() -> None:
    alone = _plan().peak_bytes
    there = plan_case(BRAIN, SPECS["lite"], Wish(), Footprint(held_bytes=500, share=0.5))
    assert there.peak_bytes == pytest.approx(500 + alone / 2, abs=2)


def test_one_pass_takes_the_share_of_labels_and_windows_that_of_logits() -> None:
    footprint = Footprint(held_bytes=0, share=1.0, labels_share=0.5)
    whole = plan_case(BRAIN, SPECS["lite"], Wish(), footprint)
    assert whole.peak_bytes == pytest.approx(_plan().peak_bytes / 2, abs=2)
    windows = Wish(window=(96, 96, 96))
    assert plan_case(BRAIN, SPECS["lite"], windows, footprint) == plan_case(BRAIN, SPECS["lite"], windows, PLAIN)


def test_buffers_that_are_kept_hold_those_of_labels_in_one_pass() -> None:
    footprint = Footprint(held_bytes=0, share=1.0, labels_share=0.5)
    alone = plan_case(BRAIN, SPECS["lite"], Wish(), footprint).peak_bytes
    kept = dataclasses.replace(footprint, kept_bytes=alone + 1000)
    assert plan_case(BRAIN, SPECS["lite"], Wish(), kept).peak_bytes == alone + 1000


def test_buffers_that_are_kept_apart_lie_beside_all_that_a_case_takes() -> None:
    alone = _plan().peak_bytes
    apart = dataclasses.replace(PLAIN, kept_bytes=1000, is_kept_apart=True)
    assert plan_case(BRAIN, SPECS["lite"], Wish(), apart).peak_bytes == alone + 1000
    tight = plan_case(BRAIN, SPECS["lite"], Wish(budget_bytes=alone + 999), apart)
    assert (tight.peak_bytes, tight.lets_go) == (alone, True)


def test_expected_seconds_are_work_over_pace_and_unknown_without_one() -> None:
    plan = plan_case(BRAIN, SPECS["lite"], Wish(), PLAIN, pace=100.0)
    assert plan.expected_seconds == pytest.approx(1.495, abs=0.001)
    assert "about 1.5 s" in str(plan)
    assert _plan().expected_seconds is None


@given(boxes, st.sampled_from(sorted(SPECS)))
def test_the_pass_holds_the_box_and_no_more_than_it_must(box: tuple[int, int, int], name: str) -> None:
    plan = _plan(box, name)
    assert all(edge % 16 == 0 for edge in plan.shape)
    assert all(0 <= padded - edge < 16 for padded, edge in zip(plan.shape, box, strict=True))
    assert plan.gflop == gflop(SPECS[name].network, plan.shape)


@given(boxes, st.sampled_from(sorted(SPECS)), st.integers(0, 2))
def test_a_larger_box_never_needs_less(box: tuple[int, int, int], name: str, axis: int) -> None:
    x, y, z = (edge + 16 * (place == axis) for place, edge in enumerate(box))
    small, large = _plan(box, name), _plan((x, y, z), name)
    assert large.peak_bytes > small.peak_bytes
    assert large.gflop > small.gflop


@given(boxes, st.floats(0.1, 1.2), st.sampled_from([0.0, 0.25, 0.5]))
def test_what_does_not_fit_in_one_pass_is_cut_into_windows_that_do(
    box: tuple[int, int, int], share: float, overlap: float
) -> None:
    whole = _plan(box)
    budget = math.ceil(whole.peak_bytes * share)
    try:
        plan = _plan(box, budget=budget, overlap=overlap)
    except BudgetError:
        return
    assert plan.peak_bytes <= budget
    assert (plan.passes == 1) == (plan.window == plan.shape)
    assert share < 1 or plan == whole
    assert plan.passes == len(window_boxes(plan.shape, plan.window, overlap))
    assert plan.gflop == pytest.approx(plan.passes * gflop(SPECS["lite"].network, plan.window))
    assert all(edge % 16 == 0 for edge in plan.window)


def test_a_tighter_budget_never_takes_less_arithmetic() -> None:
    whole = _plan().peak_bytes
    work = [_plan(budget=int(whole * share)).gflop for share in (1.0, 0.8, 0.6, 0.5, 0.4)]
    assert work == sorted(work)
    assert work[0] < work[-1]


def test_a_budget_that_nothing_fits_is_refused_with_what_would_do() -> None:
    with pytest.raises(BudgetError, match=r"needs \d+ MB in windows of 64 x 64 x 64, 10 MB are granted") as caught:
        _plan(budget=10_000_000)
    needed_mb = int(str(caught.value).split("needs ")[1].split(" MB")[0])
    assert _plan(budget=needed_mb * 10**6).window == (64, 64, 64)


def test_a_window_that_is_asked_for_is_taken() -> None:
    plan = _plan(window=(96, 96, 96), batch=4)
    assert (plan.window, plan.passes, plan.batch) == ((96, 96, 96), 2 * 3 * 2, 4)
    assert _plan(window=(96, 96, 96)).peak_bytes < plan.peak_bytes
    with pytest.raises(ConfigError, match="a window of 100 x 96 x 96 voxels: network 'lite' takes multiples of 16"):
        _plan(window=(100, 96, 96))


def test_a_window_larger_than_the_brain_pads_it() -> None:
    plan = _plan((50, 60, 70), window=(128, 128, 128))
    assert (plan.shape, plan.passes) == ((128, 128, 128), 1)


def test_an_engine_of_one_shape_is_given_windows_of_it() -> None:
    footprint = Footprint(held_bytes=0, share=1.0, shapes=((128, 128, 128),))
    plan = plan_case(BRAIN, SPECS["lite"], Wish(), footprint)
    assert (plan.window, plan.shape, plan.passes) == ((128, 128, 128), (144, 176, 144), 8)
    with pytest.raises(ConfigError, match="a window of 96 x 96 x 96 voxels: the engine was built for 128 x 128 x 128"):
        plan_case(BRAIN, SPECS["lite"], Wish(window=(96, 96, 96)), footprint)


@given(boxes)
def test_an_engine_of_many_shapes_is_given_none_beyond_them(box: tuple[int, int, int]) -> None:
    smallest, largest = (112, 128, 112), (176, 208, 176)
    footprint = Footprint(held_bytes=0, share=1.0, shapes=(smallest, largest))
    plan = plan_case(box, SPECS["lite"], Wish(), footprint)
    assert all(low <= edge <= high for low, edge, high in zip(smallest, plan.window, largest, strict=True))
    assert all(padded >= edge for padded, edge in zip(plan.shape, box, strict=True))
    assert plan.passes == len(window_boxes(plan.shape, plan.window, 0.5))
    if all(edge <= high for edge, high in zip(box, largest, strict=True)):
        assert plan.passes == 1


@pytest.mark.parametrize(
    "wrong", [{"overlap": 1.0}, {"overlap": -0.1}, {"batch": 0}, {"budget_bytes": 0}, {"window": (0, 64, 64)}]
)
def test_a_wish_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Wish(**wrong)  # type: ignore[arg-type]


def test_the_reference_network_needs_more_than_lite() -> None:
    assert _plan(name="reference").peak_bytes > 3 * _plan().peak_bytes


@given(boxes, st.integers(0, 4 * 10**9), st.integers(1, 4 * 10**9))
def test_buffers_that_an_engine_keeps_count_unless_it_must_let_them_go(
    box: tuple[int, int, int], kept: int, budget: int
) -> None:
    wish, spec = Wish(budget_bytes=budget), SPECS["lite"]
    try:
        alone = plan_case(box, spec, wish, PLAIN)
    except BudgetError:
        return
    plan = plan_case(box, spec, wish, dataclasses.replace(PLAIN, kept_bytes=kept))
    assert plan.window == alone.window  # what was kept never costs windows
    assert plan.peak_bytes <= budget
    taken = buffer_bytes(spec, PLAIN.share, plan.batch, plan.window)
    beside = alone.peak_bytes + max(0, kept - taken)
    assert plan.lets_go == (beside > budget)
    assert plan.peak_bytes == (alone.peak_bytes if plan.lets_go else beside)
