from __future__ import annotations

import itertools
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssa_fast.errors import BackendUnavailable, CaseError
from ssa_fast.evaluate.statistics import compare, grouped, summarize, terciles
from ssa_fast.metrics.profiles import OVERLAP, PROFILES
from tests.evaluate.evaluations import in_profile

SCORES = {f"case{number}": value for number, value in enumerate((0.9, 0.1, 0.5, 0.8, 0.7, 0.75, 0.85))}
VALUES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8)


def named(values: list[float]) -> dict[str, float]:
    return {f"case{number}": value for number, value in enumerate(values)}


def test_a_summary_worked_by_hand() -> None:
    summary = summarize(in_profile(OVERLAP, A=0.0, B=0.2, C=0.4, D=1.0))["WT"]["dice"]
    assert summary.count == 4
    assert summary.mean == pytest.approx(0.4)
    assert summary.quartiles == pytest.approx((0.15, 0.3, 0.55))


def test_every_target_and_measure_of_the_profile_is_summed_up() -> None:
    for profile in PROFILES.values():
        found = summarize(in_profile(profile, A=0.5, B=0.25))
        assert list(found) == list(profile.targets)
        assert all(list(measures) == list(profile.measures) for measures in found.values())


def test_the_interval_is_that_of_a_plain_bootstrap() -> None:
    values = np.array(list(SCORES.values()))
    rng = np.random.default_rng(7)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(20_000)]
    found = summarize(in_profile(OVERLAP, **SCORES))["WT"]["dice"]
    assert (found.low, found.high) == pytest.approx(np.percentile(means, (2.5, 97.5)), abs=0.01)


def test_equal_scores_give_equal_intervals() -> None:
    one, other = (summarize(in_profile(OVERLAP, **SCORES)) for _ in range(2))
    assert one == other


def test_one_case_is_its_own_interval_and_none_has_no_summary() -> None:
    alone = summarize(in_profile(OVERLAP, A=0.3))["ET"]["recall"]
    assert (alone.low, alone.mean, alone.high, *alone.quartiles) == pytest.approx([0.3] * 6)
    assert summarize(in_profile(OVERLAP)) == {}


@settings(max_examples=30)
@given(VALUES)
def test_the_interval_holds_the_mean_and_lies_within_the_cases(values: list[float]) -> None:
    found = summarize(in_profile(OVERLAP, **named(values)))["TC"]["dice"]
    slack = 1e-9
    assert min(values) - slack <= found.low <= found.mean + slack
    assert found.mean - slack <= found.high <= max(values) + slack


def test_a_comparison_is_of_the_cases_of_both_paired_by_name() -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")
    one, other = in_profile(OVERLAP, A=0.5, B=0.9, C=0.4, X=1.0), in_profile(OVERLAP, Y=0.0, C=0.4, B=0.7, A=0.6)
    found = compare(one, other)["WT"]["dice"]
    assert (found.count, found.higher, found.lower) == (3, 1, 1)
    assert found.mean == pytest.approx((-0.1 + 0.2 + 0) / 3)
    assert found.median == pytest.approx(0)
    assert found.p == 1  # two differences, of unlike sign, say nothing


def test_wilcoxon_s_p_is_the_share_of_signs_as_extreme() -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")
    ahead = {name: value + 0.01 * place for place, (name, value) in enumerate(SCORES.items(), start=1)}
    found = compare(in_profile(OVERLAP, **ahead), in_profile(OVERLAP, **SCORES))["WT"]["dice"]
    assert found.p == pytest.approx(2 / 2**7)  # all seven of one sign: 1 of 128, on either side
    assert (found.higher, found.lower) == (7, 0)
    assert 0 < found.low < found.mean < found.high


@settings(max_examples=30)
@given(VALUES, VALUES)
def test_a_comparison_turned_round_changes_its_sign_only(values: list[float], others: list[float]) -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")
    one, other = in_profile(OVERLAP, **named(values)), in_profile(OVERLAP, **named(others))
    there, back = compare(one, other)["WT"]["dice"], compare(other, one)["WT"]["dice"]
    assert there.mean == pytest.approx(-back.mean)
    assert (there.higher, there.lower) == (back.lower, back.higher)
    assert there.p == pytest.approx(back.p)
    assert 0 <= there.p <= 1


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(CaseError, match="no case was scored in both"):
        compare(in_profile(OVERLAP, A=1.0), in_profile(OVERLAP, B=1.0))


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(BackendUnavailable, match=re.escape("pip install 'ssa-fast[evaluate]'")):
        compare(in_profile(OVERLAP, A=1.0), in_profile(OVERLAP, A=0.5))


def test_groups_hold_every_case_once() -> None:
    evaluation = in_profile(OVERLAP, A=0.1, B=0.2, C=0.3)
    parted = grouped(evaluation, {"A": "y", "B": "x", "C": "y"})
    assert {name: [case.name for case in part.cases] for name, part in parted.items()} == {"x": ["B"], "y": ["A", "C"]}


def test_terciles_are_named_by_their_ends() -> None:
    values = {"A": 5.0, "B": 1.5, "C": 20.0, "D": 7.0, "E": 2.0, "F": 100.0}
    assert terciles(values, " ml") == {
        "B": "1: 1.5 to 2 ml",
        "E": "1: 1.5 to 2 ml",
        "A": "2: 5 to 7 ml",
        "D": "2: 5 to 7 ml",
        "C": "3: 20 to 100 ml",
        "F": "3: 20 to 100 ml",
    }


@settings(max_examples=50)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_equal_values_are_in_one_third_and_larger_ones_in_no_lower_one(values: list[int]) -> None:
    thirds = terciles({str(place): float(value) for place, value in enumerate(values)})
    ordered = sorted((value, thirds[str(place)]) for place, value in enumerate(values))
    assert [third for _, third in ordered] == sorted(third for _, third in ordered)
    assert all(a != b or one == other for (a, one), (b, other) in itertools.pairwise(ordered))
