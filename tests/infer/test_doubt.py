"""Which regions are to be looked at first."""

from __future__ import annotations

import pytest

from ssa_fast.infer.doubt import Doubt


@pytest.mark.parametrize(
    ("expected", "agreement", "wanted"),
    [
        ({"WT": 0.95, "TC": 0.949, "ET": None}, {}, ("TC",)),
        ({"WT": 0.96, "TC": 0.97, "ET": 0.98}, {}, ()),
        ({"WT": 0.90, "TC": 0.99, "ET": None}, {"WT": 0.93, "TC": 0.929, "ET": 0.5}, ("TC", "ET")),  # votes decide
    ],
)
def test_votes_decide_and_without_them_the_expected_dice(
    expected: dict[str, float | None], agreement: dict[str, float], wanted: tuple[str, ...]
) -> None:
    assert Doubt(expected_dice=expected, agreement=agreement).look_first == wanted


@pytest.mark.parametrize(
    ("agreement", "wanted"),
    [
        ({}, ("WT",)),
        ({"WT": 1.0, "TC": 1.0, "ET": 1.0}, ("WT",)),  # of votes that see nothing
        ({"WT": 0.1, "TC": 0.2, "ET": 1.0}, ("WT", "TC")),  # what some saw was taken away behind them
    ],
)
def test_a_case_without_any_tumor_is_looked_at_first_and_said_to_be_so(
    agreement: dict[str, float], wanted: tuple[str, ...]
) -> None:
    doubt = Doubt(expected_dice={"WT": None, "TC": None, "ET": None}, agreement=agreement)
    assert doubt.look_first == wanted
    assert str(doubt).endswith(f"; no tumour was found; look at this first: {' '.join(wanted)}")
    assert not Doubt(expected_dice={"WT": 0.99, "TC": None, "ET": None}, agreement=agreement).is_empty


def test_it_is_told_in_one_line() -> None:
    doubt = Doubt(expected_dice={"WT": 0.956, "TC": None}, agreement={"WT": 0.91, "TC": 1.0})
    assert str(doubt) == "expected Dice WT 0.96, TC -; votes agree WT 0.91, TC 1.00; look at this first: WT"
    assert str(Doubt(expected_dice={"WT": 0.97}, agreement={})) == "expected Dice WT 0.97"
