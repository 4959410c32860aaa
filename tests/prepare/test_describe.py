"""A data set in numbers: each worked out by hand from tiny cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssa_fast.prepare.describe import (
    CaseFacts,
    DataSet,
    describe_case,
    description_to_json,
    description_to_text,
)
from ssa_fast.prepare.suspects import Likeness, Swap
from ssa_fast.volume.case import find_cases
from tests.cases import SHAPE, brain_ellipsoid, brain_values, tumor_labels, turned_affine, write_case, write_nifti

BRAIN_ML = np.count_nonzero(brain_ellipsoid()) / 1000


def described(folder: Path) -> tuple[list[CaseFacts], dict[str, Likeness]]:
    facts, brains = [], {}
    for files in find_cases([folder]):
        case = describe_case(files)
        assert not isinstance(case, list), case
        facts.append(case[0])
        brains[files.name] = case[1]
    return facts, brains


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Two cases with a tumour, one turned and with older labels; one without a reference."""
    write_case(tmp_path, "A", dtype=np.int16)
    write_case(tmp_path, "B", affine=turned_affine("LPS"), seed=1)
    labels = tumor_labels()
    write_nifti(tmp_path / "B" / "B-seg.nii.gz", np.where(labels == 3, 4, labels), turned_affine("LPS"))
    write_case(tmp_path, "C", labels=False, seed=2)
    return tmp_path


def test_a_case_in_numbers(cases: Path) -> None:
    (first, second, third), _ = described(cases)
    assert (first.shape, first.spacing_mm, first.orientation) == (SHAPE, (1.0, 1.0, 1.0), "RAS")
    assert (second.orientation, second.label_values) == ("LPS", (0, 1, 2, 4))
    assert first.label_values == (0, 1, 2, 3)
    assert first.voxel_types["t1c"] == "int16"
    assert first.brain_ml == pytest.approx(BRAIN_ML)
    assert first.label_ml == second.label_ml == pytest.approx({"NCR": 0.027, "ED": 0.218, "ET": 0.098})
    assert first.region_ml == pytest.approx({"WT": 0.343, "TC": 0.125, "ET": 0.098})
    assert third.label_ml is None
    values = brain_values(seed=0)
    values = values[values != 0]
    own = first.intensities["t1n"]
    assert own.least == values.min()
    assert own.median == np.median(values)
    assert own.p99 == pytest.approx(np.percentile(values, 99))
    assert own.deviation == pytest.approx(values.std())
    assert own.negative_share == pytest.approx((values < 0).mean())


def test_the_balance_is_of_volumes_over_labelled_cases(cases: Path) -> None:
    balance = DataSet.of(*described(cases)).balance()
    assert balance["ED"] == pytest.approx({"of_brain": 0.218 / BRAIN_ML, "of_tumor": 0.218 / 0.343, "cases_without": 0})
    assert balance["background"]["of_brain"] == pytest.approx(1 - 0.343 / BRAIN_ML)
    assert sum(label["of_brain"] for label in balance.values()) == pytest.approx(1)


def test_a_label_that_a_case_has_not_is_counted(tmp_path: Path) -> None:
    write_case(tmp_path, "A")
    labels = tumor_labels()
    labels[labels == 1] = 3
    write_nifti(tmp_path / "A" / "A-seg.nii.gz", labels)
    data = DataSet.of(*described(tmp_path))
    assert data.balance()["NCR"] == {"of_brain": 0, "of_tumor": 0, "cases_without": 1}


def test_voxels_of_another_size_are_described_and_their_volumes_are_in_ml(tmp_path: Path) -> None:
    write_case(tmp_path, "A", affine=np.diag([1, 1, 5, 1]).astype(np.float64))
    (case,), _ = described(tmp_path)
    assert case.spacing_mm == (1, 1, 5)
    assert case.label_ml == pytest.approx({"NCR": 0.135, "ED": 1.09, "ET": 0.49})


def test_what_cannot_be_read_is_all_its_problems(cases: Path) -> None:
    (cases / "A" / "A-t1c.nii.gz").unlink()
    (cases / "A" / "A-seg.nii.gz").write_bytes(b"")
    problems = describe_case(find_cases([cases / "A"])[0])
    assert isinstance(problems, list)
    assert [problem.file for problem in problems] == ["A-t1c", "A-seg.nii.gz"]


def test_json_holds_every_number_and_no_path(cases: Path) -> None:
    data = DataSet.of(*described(cases))
    text = json.dumps(description_to_json(data, "1.0"))
    assert str(cases) not in text
    found = json.loads(text)
    assert (found["cases"], found["cases_with_reference"]) == (3, 2)
    assert found["shapes"] == {"24 x 20 x 18": 3}
    assert found["orientations"] == {"RAS": 2, "LPS": 1}
    assert found["label_values"] == {"0 1 2 3": 1, "0 1 2 4": 1, "none": 1}
    assert found["volumes_ml"]["WT"] == pytest.approx({"least": 0.343, "median": 0.343, "most": 0.343})
    assert found["intensities"]["t2w"]["cases_with_negative"] == 3
    assert set(found["by_case"]) == {"A", "B", "C"}


def test_text_says_what_is_common_and_what_is_suspected(cases: Path) -> None:
    facts, brains = described(cases)
    swap = Swap(broken=("liquor is dark",), mends=(("t2w", "t2f"),))
    one = CaseFacts(**{**vars(facts[0]), "swap": swap})
    alike = {"A": brains["A"], "B": brains["A"]}
    text = description_to_text(DataSet.of([one, *facts[1:]], alike))
    assert "3 cases, 2 with a reference" in text
    assert "A and B: brains correlate by 1.00" in text
    assert "A: liquor is dark: swapped: t2w with t2f?" in text
    assert "cases without a reference: 1" in text
    assert "RAS (2), LPS (1)" in text


def test_a_set_of_which_nothing_can_be_read_is_described_all_the_same() -> None:
    data = DataSet.of([], {})
    assert "0 cases" in description_to_text(data)
    assert description_to_json(data, "1.0")["volumes_ml"] == {}
