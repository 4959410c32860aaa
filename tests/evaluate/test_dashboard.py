from __future__ import annotations

import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.evaluate.dashboard import dashboard
from ssa_fast.evaluate.provenance import RESEARCH_ONLY, Provenance
from ssa_fast.evaluate.statistics import summarize
from ssa_fast.metrics.overlap import TARGETS
from tests.evaluate.reported import is_drawn, panel, unlike_numbers, words


def test_bars_intervals_and_words_are_the_statistics_of_the_scores() -> None:
    evaluation = unlike_numbers()
    figure = dashboard(evaluation, Provenance(network="net", trained_on="A-1 A-2", training_cases=2))
    summaries = summarize(evaluation)
    dice = panel(figure, "dice")
    assert [bar.get_height() for bar in dice.patches] == [summaries[target]["dice"].mean for target in TARGETS]
    reaches = [tuple(line.get_segments()[0][:, 1]) for line in dice.collections if hasattr(line, "get_segments")]
    assert reaches == [
        pytest.approx((summaries[target]["dice"].low, summaries[target]["dice"].high)) for target in TARGETS
    ]
    pair = [bar.get_height() for bar in panel(figure, "pair").patches]
    expected = [evaluation.mean(measure, target) for target in TARGETS for measure in ("precision", "recall")]
    assert pair == expected
    said = words(figure)
    assert f"{summaries['WT']['dice'].mean:.3f}" in said
    assert RESEARCH_ONLY in figure._supxlabel.get_text()
    assert "2 cases (named in report.md)" in said
    assert is_drawn(figure)


def test_the_confusion_is_over_all_cases_and_shares_are_of_its_rows() -> None:
    evaluation = unlike_numbers()
    axes = panel(dashboard(evaluation, Provenance()), "confusion")
    counts = sum(case.confusion for case in evaluation.cases)
    assert axes.texts[6].get_text() == f"{counts[1, 2] / counts[1].sum():.1%}\n{counts[1, 2]}"


def test_without_a_scored_case_it_says_so() -> None:
    assert words(dashboard(unlike_numbers(0), Provenance())).count("no case was scored") == 3
