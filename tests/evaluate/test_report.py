from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from ssa_fast.evaluate.calibration import Calibration, reliability
from ssa_fast.evaluate.report import aligned, first_of, to_csv, to_json, to_text
from ssa_fast.evaluate.scores import CaseScores, Evaluation
from ssa_fast.metrics.overlap import TARGETS, Overlap
from ssa_fast.metrics.profiles import MEASURES, OVERLAP, PROFILES, Profile
from tests.evaluate.evaluations import in_profile


def values(overlap: Overlap) -> dict[str, float]:
    return {
        **{name: getattr(overlap, name) for name in ("dice", "precision", "recall")},
        "reference_ml": overlap.reference / 1000,
        "predicted_ml": overlap.predicted / 1000,
    }


def scores(name: str, both: int, reference: int, predicted: int) -> CaseScores:
    overlap = Overlap(both=both, reference=reference, predicted=predicted, neither=10)
    empty = Overlap(both=0, reference=0, predicted=0, neither=10)
    return CaseScores(
        name=name,
        reference=Path("cases") / name / f"{name}-seg.nii.gz",
        prediction=Path("predictions") / f"{name}.nii.gz",
        tumor_ml=reference / 1000,
        confusion=np.arange(16).reshape(4, 4),
        scores={**dict.fromkeys(TARGETS, values(overlap)), "ED": values(empty)},
    )


@pytest.fixture
def evaluation() -> Evaluation:
    """Dice 0.8, 0.5 and 0 for every target but ED, which is empty on both sides."""
    return Evaluation(
        profile=OVERLAP,
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
    longer = Evaluation(
        profile=OVERLAP, cases=(*evaluation.cases, scores("a" * 40, 1, 1, 1)), failures={}, unmatched=()
    )
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
            assert all(kept["scores"][target][name] == case.value(name, target) for name in OVERLAP.measures)
        assert kept["confusion"] == np.arange(16).reshape(4, 4).tolist()
    assert values["confusion"] == (3 * np.arange(16)).reshape(4, 4).tolist()
    assert values["metrics"] == "overlap"
    assert values["mean"]["WT"]["recall"] == pytest.approx((4 / 6 + 1 / 2 + 0) / 3)
    assert values["median"]["WT"]["dice"] == 0.5
    assert values["failures"] == dict(evaluation.failures)
    assert values["predictions_without_case"] == ["BraTS-SSA-00009-000.nii.gz"]


def test_json_names_no_folder(evaluation: Evaluation) -> None:
    without_messages = Evaluation(profile=OVERLAP, cases=evaluation.cases, failures={}, unmatched=evaluation.unmatched)
    assert "predictions/" not in json.dumps(to_json(without_messages, "1.2.3"))


def test_an_evaluation_of_nothing_says_so_and_has_no_mean() -> None:
    nothing = Evaluation(profile=OVERLAP, cases=(), failures={"A": "case A: no prediction in p"}, unmatched=())
    text = to_text(nothing)
    assert text.startswith("No case was scored.")
    assert "case A: no prediction in p" in text
    values = to_json(nothing, "1.2.3")
    assert values["mean"] == values["median"] == values["cases"] == {}


def test_a_profile_s_tables_read_as_typed_here() -> None:
    evaluation = in_profile(PROFILES["legacy"], A=0.5, BB=1.0, C=0.25)
    head, tables = "  Dice   HD95    rec    spec", to_text(evaluation).split("\n\n")
    for table, target in zip(tables, ("WT", "TC", "ET"), strict=True):
        expected = f"""\
{target}    {head}
-----------------------------------
A       0.500   0.50  0.500 0.50000
BB      1.000   1.00  1.000 1.00000
C       0.250   0.25  0.250 0.25000
-----------------------------------
mean    0.583   0.58  0.583 0.58333
median  0.500   0.50  0.500 0.50000"""
        assert table.removesuffix("\n" + PROFILES["legacy"].rule).splitlines()[1:] == expected.splitlines()[1:]
        assert table.splitlines()[0].split() == [target, *head.split()]
    assert tables[-1].endswith(PROFILES["legacy"].rule)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_no_line_of_a_profile_is_wider_than_120_columns(profile: Profile) -> None:
    evaluation = in_profile(profile, **{"BraTS-SSA-00001-000": 0.5})
    assert max(len(line) for line in to_text(evaluation).splitlines()) <= 120


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_the_csv_has_a_line_a_case_and_target_with_every_measure(profile: Profile) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(in_profile(profile, A=0.1, B=1 / 3)))))
    assert [(line["case"], line["target"]) for line in lines] == [(case, t) for case in "AB" for t in profile.targets]
    for line in lines:
        assert [float(line[measure]) for measure in profile.measures] == [{"A": 0.1, "B": 1 / 3}[line["case"]]] * len(
            profile.measures
        )


def test_a_mean_of_counts_keeps_its_fraction() -> None:
    text = to_text(in_profile(PROFILES["brats2023"], A=1.0, B=2.0))
    row = next(line for line in text.splitlines() if line.startswith("mean"))
    counts = [MEASURES[name].heading for name in PROFILES["brats2023"].measures if MEASURES[name].decimals == 0]
    assert row.split().count("1.5") == len(counts) == 3


def test_the_csv_of_a_calibration_ends_in_its_error_and_is_empty_where_there_is_none() -> None:
    half = reliability(np.full(4, 0.5, dtype=np.float32), np.array([True, False, False, False]))
    calibration = Calibration(cases={"A": {"WT": half}}, failures={})
    lines = list(csv.DictReader(io.StringIO(to_csv(in_profile(OVERLAP, A=0.1, B=0.2), calibration))))
    assert {(line["case"], line["target"]): line["ece"] for line in lines if line["target"] in ("WT", "TC")} == {
        ("A", "WT"): "0.25",
        ("A", "TC"): "",
        ("B", "WT"): "",
        ("B", "TC"): "",
    }


def test_many_names_are_the_first_few_and_how_many_more() -> None:
    assert first_of(list("ABCDE")) == "A, B, C, D, E"
    assert first_of(list("ABCDEF")) == "A, B, C, D and 2 more"
    assert len(first_of([f"BraTS-SSA-{number:05}-000" for number in range(1000)])) < 120


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    expected = """\
case      x
-----------
longer  1.5
b         -"""
    assert aligned([["case", "x"], ["longer", "1.5"], ["b", "-"]]) == expected
