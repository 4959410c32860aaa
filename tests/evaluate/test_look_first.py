from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssa_fast.evaluate.look_first import Look, LookFirst, look_first, look_first_json, look_first_rows, look_first_words
from ssa_fast.evaluate.scores import CaseScores
from ssa_fast.files import sha256


def scored(name: str, dice: float, folder: Path = Path()) -> CaseScores:
    """Of 1000 voxels of ET in each, so many are in both: WT, TC and ET have one Dice."""
    both = round(1000 * dice)
    confusion = np.zeros((4, 4), dtype=np.int64)
    confusion[3] = [1000 - both, 0, 0, both]
    confusion[0, 3] = 1000 - both
    paths = {"reference": Path("r.nii.gz"), "prediction": folder / f"{name}.nii.gz"}
    return CaseScores(name=name, tumor_ml=1, confusion=confusion, scores={}, **paths)


def write_record(folder: Path, name: str, doubt: Mapping[str, Any] | None, flagged: tuple[str, ...] = ()) -> Path:
    path = folder / f"{name}.nii.gz"
    path.write_bytes(name.encode())
    record = {"output_sha256": sha256(name.encode()), "doubt": doubt, "look_first": list(flagged)}
    (folder / f"{name}.json").write_text(json.dumps(record))
    return path


def doubt(value: float, *, votes: bool = False) -> dict[str, Any]:
    expected = {"WT": 0.99, "TC": value, "ET": None}
    return {"expected_dice": expected, "agreement": {"WT": 0.99, "TC": value / 2, "ET": 1.0} if votes else {}}


def order_of(values: list[tuple[float, float | None]]) -> LookFirst:
    """Cases of these values and Dice, as `look_first` orders them."""
    looks = [Look(name=f"C{n}", regions={"WT": value}, flagged=(), dice=dice) for n, (value, dice) in enumerate(values)]
    return LookFirst(measure="agreement", looks=tuple(sorted(looks, key=lambda look: look.value)))


def test_the_case_of_the_least_expected_dice_comes_first_and_one_without_a_record_is_named(tmp_path: Path) -> None:
    paths = {name: write_record(tmp_path, name, doubt(value)) for name, value in (("A", 0.9), ("B", 0.6), ("C", 0.8))}
    paths["D"] = write_record(tmp_path, "D", None)
    found = look_first(paths, [scored("A", 0.9), scored("B", 0.5)])
    assert found is not None
    assert [look.name for look in found.looks] == ["B", "C", "A"]
    assert [look.dice for look in found.looks] == [0.5, None, 0.9]
    assert (found.measure, found.unknown) == ("expected_dice", ("D",))
    assert "without a record of 'infer --uncertainty': D." in look_first_words(found)[1]
    assert look_first_rows(found)[2] == ["C", "0.990", "0.800", "-", "-", "-"]


def test_agreement_ranks_where_all_have_it_and_expected_dice_else(tmp_path: Path) -> None:
    paths = {name: write_record(tmp_path, name, doubt(0.8, votes=True), ("TC",)) for name in "AB"}
    found = look_first(paths, [])
    assert found is not None
    assert (found.measure, found.looks[0].value, found.looks[0].flagged) == ("agreement", 0.4, ("TC",))
    paths["C"] = write_record(tmp_path, "C", doubt(0.7))
    mixed = look_first(paths, [])
    assert mixed is not None
    assert (mixed.measure, [look.value for look in mixed.looks]) == ("expected_dice", [0.7, 0.8, 0.8])


@pytest.mark.parametrize("votes", [False, True])
def test_a_case_without_any_tumor_comes_before_the_most_doubtful_and_is_named(tmp_path: Path, votes: bool) -> None:
    nothing = {
        "expected_dice": dict.fromkeys(("WT", "TC", "ET")),
        "agreement": dict.fromkeys(("WT", "TC", "ET"), 1.0) if votes else {},
    }
    paths = {name: write_record(tmp_path, name, doubt(value, votes=votes)) for name, value in (("A", 0.9), ("B", 0.0))}
    paths["C"] = write_record(tmp_path, "C", nothing)
    found = look_first(paths, [scored("A", 0.9), scored("B", 0.5), scored("C", 0.0)])
    assert found is not None
    assert [look.name for look in found.looks] == ["C", "B", "A"]
    assert look_first_words(found)[1] == "Before all, for no tumour was found in them: C."
    assert look_first_json(found)["cases_without_tumor"] == ["C"]
    assert found.worst_found == 1


def test_a_record_with_a_null_for_its_flags_or_maps_has_none(tmp_path: Path) -> None:
    path = write_record(tmp_path, "A", doubt(0.9))
    record = json.loads((tmp_path / "A.json").read_text())
    (tmp_path / "A.json").write_text(json.dumps({**record, "look_first": None, "maps_sha256": None}))
    found = look_first({"A": path}, [])
    assert found is not None
    assert found.looks[0].flagged == ()


@pytest.mark.parametrize("record", ["{", "[]", '{"doubt": {}}', '{"doubt": "x"}'])
def test_without_a_record_that_vouches_there_is_no_order(tmp_path: Path, record: str) -> None:
    path = write_record(tmp_path, "A", doubt(0.9))
    assert look_first({"A": path}, []) is not None
    path.write_bytes(b"other labels")
    assert look_first({"A": path}, []) is None
    (tmp_path / "A.json").write_text(record)
    assert look_first({"A": path}, []) is None


def test_an_order_that_is_that_of_the_dice_has_all_the_worst_first() -> None:
    found = order_of([(0.9, 0.8), (0.5, 0.1), (0.7, 0.3), (0.8, 0.5), (0.6, 0.2)])
    assert found.correlation == pytest.approx(1)
    assert (found.third, found.worst, found.worst_found) == (2, ("C1", "C4"), 2)
    words = look_first_words(found)[-1]
    assert "of the 2 worst cases 2 are among the first 2 (by chance 0.8)" in words
    assert "So few cases say little of the order." in words
    assert "the worst case is the first." in look_first_words(order_of([(0.1, 0.1), (0.2, 0.2)]))[-1]
    assert "the worst case is not the first." in look_first_words(order_of([(0.1, 0.2), (0.2, 0.1)]))[-1]
    many = look_first_words(order_of([(value / 10, value / 10) for value in range(10)]))[-1]
    assert "So few" not in many


def test_an_order_that_is_the_other_way_round_finds_none_of_them() -> None:
    found = order_of([(0.1, 0.9), (0.2, 0.8), (0.3, 0.7), (0.4, 0.6)])
    assert found.correlation == pytest.approx(-1)
    assert found.worst_found == 0


def test_equal_values_share_a_rank_in_the_correlation() -> None:
    found = order_of([(0.1, 0.1), (0.2, 0.3), (0.2, 0.2), (0.3, 0.4)])
    # ranks less their mean: -1.5 0 0 1.5 and -1.5 0.5 -0.5 1.5
    assert found.correlation == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


@pytest.mark.parametrize("values", [[(0.5, 0.5), (0.6, 0.6)], [(0.5, 0.1), (0.5, 0.2), (0.5, 0.3)], [(0.5, None)] * 4])
def test_too_few_scores_or_all_alike_give_no_correlation(values: list[tuple[float, float | None]]) -> None:
    found = order_of(values)
    assert found.correlation is None
    json.dumps(look_first_json(found), allow_nan=False)
    assert len(look_first_words(found)) == (1 if values[0][1] is None else 2)
