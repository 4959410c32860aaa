"""The plan: pure arithmetic, so every number is held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_fast.errors import BudgetError
from ssa_fast.infer.plan import plan_case
from ssa_fast.model.spec import PRESETS, ModelSpec, gflop

SPECS = {name: ModelSpec(name=name, network=config, window=(96, 96, 96)) for name, config in PRESETS.items()}
edges = st.integers(1, 240)
boxes = st.tuples(edges, edges, edges)


def test_a_real_brain_is_one_pass_of_its_box_padded_to_16() -> None:
    plan = plan_case((140, 172, 138), SPECS["lite"], budget_bytes=None)
    assert plan.shape == (144, 176, 144)
    assert plan.gflop == pytest.approx(149.5, abs=0.05)
    assert "one pass of 144 x 176 x 144, 149 GFLOP" in str(plan)


def test_peak_memory_worked_by_hand() -> None:
    # lite, at full resolution: input 4 + (8 up + 4 input) in + 8 out + the larger of both again = 36 channels
    plan = plan_case((16, 16, 16), SPECS["lite"], budget_bytes=None)
    assert plan.peak_bytes >= (4 + 12 + 8 + 12) * 16**3 * 4


@given(boxes, st.sampled_from(sorted(SPECS)))
def test_the_pass_holds_the_box_and_no_more_than_it_must(box: tuple[int, int, int], name: str) -> None:
    plan = plan_case(box, SPECS[name], budget_bytes=None)
    assert all(edge % 16 == 0 for edge in plan.shape)
    assert all(0 <= padded - edge < 16 for padded, edge in zip(plan.shape, box, strict=True))
    assert plan.gflop == gflop(SPECS[name].network, plan.shape)


@given(boxes, st.sampled_from(sorted(SPECS)), st.integers(0, 2))
def test_a_larger_box_never_needs_less(box: tuple[int, int, int], name: str, axis: int) -> None:
    x, y, z = (edge + 16 * (place == axis) for place, edge in enumerate(box))
    small, large = plan_case(box, SPECS[name], None), plan_case((x, y, z), SPECS[name], None)
    assert large.peak_bytes > small.peak_bytes
    assert large.gflop > small.gflop


def test_a_budget_is_met_or_refused_with_both_numbers() -> None:
    needed = plan_case((140, 172, 138), SPECS["lite"], None).peak_bytes
    assert plan_case((140, 172, 138), SPECS["lite"], needed).peak_bytes == needed
    with pytest.raises(BudgetError, match=r"needs 0\.88 GB, 0\.50 GB are granted"):
        plan_case((140, 172, 138), SPECS["lite"], 500_000_000)


def test_the_reference_network_needs_more_than_lite() -> None:
    box = (140, 172, 138)
    assert plan_case(box, SPECS["reference"], None).peak_bytes > 3 * plan_case(box, SPECS["lite"], None).peak_bytes
