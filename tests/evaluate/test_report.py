from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssa_fast.evaluate.report import to_json, to_text
from ssa_fast.evaluate.scores import MEASURES, CaseScores, Evaluation
from ssa_fast.metrics.overlap import TARGETS, Overlap


def scores(name: str, both: int, reference: int, predicted: int) -> CaseScores:
    overlap = Overlap(both=both, reference=reference, predicted=predicted)
    return CaseScores(
        name=name,
        reference=Path("cases") / name / f"{name}-seg.nii.gz",
        prediction=Path("predictions") / f"{name}.nii.gz",
        voxel_ml=0.001,
        overlaps={**dict.fromkeys(TARGETS, overlap), "ED": Overlap(both=0, reference=0, predicted=0)},
    )


@pytest.fixture
def evaluation() -> Evaluation:
    """Dice 0.8, 0.5 and 0 for every target but ED, which is empty on both sides."""
    return Evaluation(
        cases=(
            scores("BraTS-SSA-00001-000", 4000, 6000, 4000),
            scores("BraTS-SSA-00002-000", 500, 1000, 1000),
            scores("BraTS-SSA-00003-000", 0, 123456, 0),
        ),
        failures={"BraTS-SSA-00004-000": "case BraTS-SSA-00004-000: no prediction in predictions"},
        unmatched=(Path("predictions") / "BraTS-SSA-00009-000.nii.gz",),
    )


def test_the_tables_read_as_typed_here(evaluation: Evaluation) -> None:
    expected = """\
                             NCR                 ED                  ET                  WT                  TC
case                   Dice  prec   rec    Dice  prec   rec    Dice  prec   rec    Dice  prec   rec    Dice  prec   rec
-----------------------------------------------------------------------------------------------------------------------
BraTS-SSA-00001-000   0.800 1.000 0.667   1.000 1.000 1.000   0.800 1.000 0.667   0.800 1.000 0.667   0.800 1.000 0.667
BraTS-SSA-00002-000   0.500 0.500 0.500   1.000 1.000 1.000   0.500 0.500 0.500   0.500 0.500 0.500   0.500 0.500 0.500
BraTS-SSA-00003-000   0.000 0.000 0.000   1.000 1.000 1.000   0.000 0.000 0.000   0.000 0.000 0.000   0.000 0.000 0.000
-----------------------------------------------------------------------------------------------------------------------
mean                  0.433 0.500 0.389   1.000 1.000 1.000   0.433 0.500 0.389   0.433 0.500 0.389   0.433 0.500 0.389
median                0.500 0.500 0.500   1.000 1.000 1.000   0.500 0.500 0.500   0.500 0.500 0.500   0.500 0.500 0.500
Overlap of voxels over the whole volume: both empty 1, one of them empty 0.

                           NCR             ED              ET              WT              TC
case                     ref   pred      ref   pred      ref   pred      ref   pred      ref   pred
---------------------------------------------------------------------------------------------------
BraTS-SSA-00001-000      6.0    4.0      0.0    0.0      6.0    4.0      6.0    4.0      6.0    4.0
BraTS-SSA-00002-000      1.0    1.0      0.0    0.0      1.0    1.0      1.0    1.0      1.0    1.0
BraTS-SSA-00003-000    123.5    0.0      0.0    0.0    123.5    0.0    123.5    0.0    123.5    0.0
Volumes in millilitres: reference and prediction.

Not scored, and not in the mean and median: 1 of 4 cases
  case BraTS-SSA-00004-000: no prediction in predictions

Predictions without a case: 1
  predictions/BraTS-SSA-00009-000.nii.gz"""
    assert to_text(evaluation).replace("\\", "/") == expected


def test_no_table_line_of_brats_names_is_wider_than_120_columns(evaluation: Evaluation) -> None:
    assert max(len(line) for line in to_text(evaluation).splitlines()) <= 120


def test_columns_stay_aligned_under_a_long_name(evaluation: Evaluation) -> None:
    longer = Evaluation(cases=(*evaluation.cases, scores("a" * 40, 1, 1, 1)), failures={}, unmatched=())
    table = to_text(longer).splitlines()[1:9]
    assert {len(line) for line in table} == {len(table[0])}


def test_json_holds_every_number_and_survives_a_round_trip(evaluation: Evaluation) -> None:
    values = json.loads(json.dumps(to_json(evaluation, "1.2.3"), allow_nan=False))
    assert values["ssa_fast"] == "1.2.3"
    assert list(values["cases"]) == [case.name for case in evaluation.cases]
    for case in evaluation.cases:
        kept = values["cases"][case.name]
        assert kept["prediction"] == f"{case.name}.nii.gz"
        assert kept["reference"] == f"{case.name}-seg.nii.gz"
        for target in TARGETS:
            assert all(kept["scores"][target][measure] == case.value(measure, target) for measure in MEASURES)
            assert kept["scores"][target]["reference_ml"] == case.reference_ml(target)
            assert kept["scores"][target]["predicted_ml"] == case.predicted_ml(target)
    assert values["mean"]["WT"]["recall"] == pytest.approx((4 / 6 + 1 / 2 + 0) / 3)
    assert values["median"]["WT"]["dice"] == 0.5
    assert values["failures"] == dict(evaluation.failures)
    assert values["predictions_without_case"] == ["BraTS-SSA-00009-000.nii.gz"]


def test_json_names_no_folder(evaluation: Evaluation) -> None:
    without_messages = Evaluation(cases=evaluation.cases, failures={}, unmatched=evaluation.unmatched)
    assert "predictions/" not in json.dumps(to_json(without_messages, "1.2.3"))


def test_an_evaluation_of_nothing_says_so_and_has_no_mean() -> None:
    nothing = Evaluation(cases=(), failures={"A": "case A: no prediction in p"}, unmatched=())
    text = to_text(nothing)
    assert text.startswith("No case was scored.")
    assert "case A: no prediction in p" in text
    values = to_json(nothing, "1.2.3")
    assert values["mean"] == values["median"] == values["cases"] == {}
