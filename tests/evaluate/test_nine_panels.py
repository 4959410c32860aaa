from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.evaluate.figures import Overlay
from ssa_fast.evaluate.nine_panels import nine_panels, ranked
from ssa_fast.labels import REGIONS
from ssa_fast.metrics.profiles import OVERLAP
from tests.evaluate.reported import is_drawn, panel, points, unlike_numbers, words


def overlay(name: str) -> Overlay:
    rng = np.random.default_rng(0)
    labels = np.zeros((30, 24), dtype=np.uint8)
    labels[8:20, 6:18] = 2
    images = tuple(rng.uniform(0, 1, (30, 24)).astype(np.float32) for _ in range(4))
    return Overlay(name=name, place="", images=images, labels={"reference": labels, "prediction": labels}, table="")


def test_points_are_the_volumes_scores_and_differences_of_the_cases() -> None:
    evaluation = unlike_numbers()
    figure = nine_panels(evaluation, {"C0": overlay("C0"), "C2": overlay("C2")})
    for region in REGIONS:
        pairs = [[case.value(kind, region) for kind in ("reference_ml", "predicted_ml")] for case in evaluation.cases]
        np.testing.assert_allclose(points(panel(figure, "volumes"), region), pairs)
        low, high = np.transpose(pairs)
        np.testing.assert_allclose(
            points(panel(figure, "agreement"), region), np.stack([(low + high) / 2, high - low], 1)
        )
        own = [[case.value(kind, region) for kind in ("recall", "precision")] for case in evaluation.cases]
        np.testing.assert_allclose(points(panel(figure, "pair"), region), own)
    assert is_drawn(figure)


def test_limits_of_agreement_are_196_standard_deviations_around_the_mean_difference() -> None:
    evaluation = unlike_numbers()
    wt = [case.value("predicted_ml", "WT") - case.value("reference_ml", "WT") for case in evaluation.cases]
    low, high = (np.mean(wt) + sign * 1.96 * np.std(wt, ddof=1) for sign in (-1, 1))
    said = words(nine_panels(evaluation, {}))
    assert f"WT: mean {np.mean(wt):+.1f} ml, limits {low:+.1f} to {high:+.1f} ml" in said


def test_the_worst_case_is_on_top_and_slices_are_of_the_worst_and_the_best() -> None:
    evaluation = unlike_numbers()
    assert [case.name for case in ranked(evaluation)] == ["C0", "C1", "C2"]
    figure = nine_panels(evaluation, {"C0": overlay("C0"), "C2": overlay("C2")})
    assert panel(figure, "worst").get_title(loc="left").startswith("worst: C0, mean Dice ")
    assert panel(figure, "best").get_title(loc="left").startswith("best: C2, mean Dice ")
    assert panel(figure, "ranking").get_ylim()[0] > panel(figure, "ranking").get_ylim()[1]  # the first is above


def test_what_was_not_measured_or_read_is_said_in_its_panel() -> None:
    said = words(nine_panels(unlike_numbers(1, OVERLAP), {}))
    assert "distances were not measured:\n--metrics full measures them" in said
    assert "worst case C0:\nits images cannot be read or drawn" in said
    assert "one case only:\nit is the worst and the best" in said
    assert words(nine_panels(unlike_numbers(0), {})).count("no case was scored") == 9
