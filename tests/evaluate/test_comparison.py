from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ssa_fast.evaluate.comparison import paired_json, paired_text, summaries_json, summaries_text
from ssa_fast.evaluate.statistics import Paired, Summary
from ssa_fast.metrics.profiles import PROFILES, Profile

LEGACY = PROFILES["legacy"]
SUMMARY = Summary(count=15, mean=0.5, low=0.25, high=0.75, quartiles=(0.1, 0.2, 0.3))
PAIRED = Paired(count=15, mean=0.5, low=-0.25, high=0.75, median=0.125, higher=9, lower=4, p=0.0123)
SUMMARIES = {target: dict.fromkeys(LEGACY.measures, SUMMARY) for target in LEGACY.targets}
COMPARED = {target: dict.fromkeys(LEGACY.measures, PAIRED) for target in LEGACY.targets}


def test_summaries_read_as_typed_here() -> None:
    dice, hd95 = summaries_text(LEGACY, {"all": SUMMARIES}).split("\n\n")
    assert (
        dice
        == """\
Dice  cases     mean  95 % interval          25 %   median     75 %
-------------------------------------------------------------------
WT       15    0.500    0.250 to   0.750     0.100    0.200    0.300
TC       15    0.500    0.250 to   0.750     0.100    0.200    0.300
ET       15    0.500    0.250 to   0.750     0.100    0.200    0.300"""
    )
    assert hd95.splitlines()[2] == "WT       15     0.50     0.25 to    0.75      0.10     0.20     0.30"


def test_of_several_groups_each_has_a_row_a_target() -> None:
    lines = summaries_text(LEGACY, {"A": SUMMARIES, "BB": SUMMARIES}).split("\n\n")[0].splitlines()[2:]
    assert [line[:8].strip() for line in lines] == ["WT, A", "WT, BB", "TC, A", "TC, BB", "ET, A", "ET, BB"]
    assert len({len(line) for line in lines}) == 1


def test_of_a_single_case_there_is_no_interval() -> None:
    single = {target: dict.fromkeys(LEGACY.measures, replace(SUMMARY, count=1)) for target in LEGACY.targets}
    line = summaries_text(LEGACY, {"all": single}).splitlines()[2]
    assert line == "WT        1    0.500        - to       -     0.100    0.200    0.300"
    compared = {target: dict.fromkeys(LEGACY.measures, replace(PAIRED, count=1)) for target in LEGACY.targets}
    line = paired_text(LEGACY, compared, "others").splitlines()[3]
    assert line == "WT        1   +0.500        - to       -    +0.125       9      4      0.0123"


def test_a_comparison_reads_as_typed_here() -> None:
    dice = paired_text(LEGACY, COMPARED, "others").split("\n\n")[0]
    assert (
        dice
        == """\
Less that of others, over the cases of both:
Dice  cases     mean  95 % interval        median  higher  lower  Wilcoxon p
----------------------------------------------------------------------------
WT       15   +0.500   -0.250 to  +0.750    +0.125       9      4      0.0123
TC       15   +0.500   -0.250 to  +0.750    +0.125       9      4      0.0123
ET       15   +0.500   -0.250 to  +0.750    +0.125       9      4      0.0123"""
    )


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_a_profile_s_headline_is_among_its_measures(profile: Profile) -> None:
    assert set(profile.headline) <= set(profile.measures)


def test_plain_values_hold_every_number() -> None:
    kept = json.loads(json.dumps({**summaries_json({"all": SUMMARIES}), "against": paired_json(COMPARED)}))
    assert kept["all"]["TC"]["hd95_mm"] == {
        "count": 15,
        "mean": 0.5,
        "low": 0.25,
        "high": 0.75,
        "quartiles": [0.1, 0.2, 0.3],
    }
    assert kept["against"]["ET"]["dice"]["p"] == 0.0123
