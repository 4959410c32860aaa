"""What is wrong with a case: every fault a row, with what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssa_fast.labels import MODALITIES
from ssa_fast.prepare.problems import (
    Checked,
    Problem,
    check_case,
    problem_table,
    problems_to_json,
    reference_values,
)
from ssa_fast.volume.case import find_cases
from tests.cases import SHAPE, brain_values, tumor_labels, turned_affine, write_case, write_nifti

NAME = "BraTS-SSA-70001-000"


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return write_case(tmp_path, NAME)


def file(case: Path, kind: str) -> Path:
    return case / f"{NAME}-{kind}.nii.gz"


def problems_of(case: Path) -> list[Problem]:
    checked = check_case(find_cases([case])[0])
    assert isinstance(checked, list)
    return checked


def test_a_good_case_is_read_with_its_reference(case: Path) -> None:
    checked = check_case(find_cases([case])[0])
    assert isinstance(checked, Checked)
    assert [volume.path.name for volume in checked.case.volumes] == [f"{NAME}-{word}.nii.gz" for word in MODALITIES]
    assert checked.label_values == (0, 1, 2, 3)
    assert checked.reference is not None
    np.testing.assert_array_equal(checked.reference.array, tumor_labels())


def test_older_labels_are_mapped_and_told_apart(case: Path) -> None:
    labels = tumor_labels()
    write_nifti(file(case, "seg"), np.where(labels == 3, 4, labels).astype(np.int16))
    checked = check_case(find_cases([case])[0])
    assert isinstance(checked, Checked)
    assert checked.label_values == (0, 1, 2, 4)
    assert checked.reference is not None
    np.testing.assert_array_equal(checked.reference.array, labels)
    assert reference_values(file(case, "seg")) == {0, 1, 2, 4}


def test_every_file_of_a_case_is_checked_and_not_the_first_bad_one_alone(case: Path) -> None:
    file(case, "t1c").write_bytes(b"")
    file(case, "t2w").unlink()
    write_nifti(file(case, "t2f"), brain_values((24, 20, 17)).astype(np.float32))
    write_nifti(file(case, "seg"), np.full(SHAPE, 7, dtype=np.uint8))
    problems = problems_of(case)
    assert [(problem.file, problem.remedy) for problem in problems] == [
        (f"{NAME}-t1c.nii.gz", "copy it again"),
        (f"{NAME}-t2w", f"add {NAME}-t2w.nii.gz"),
        (f"{NAME}-t2f.nii.gz", "register all images of a case to one grid"),
        (f"{NAME}-seg.nii.gz", "wanted 0 1 2 3 (BraTS 2023) or 0 1 2 4 (up to 2021)"),
    ]
    assert [problem.case for problem in problems] == [NAME] * 4
    assert problems[0].seen == "the file is empty (0 bytes)"
    assert problems[2].seen.startswith("shape (24, 20, 17) differs from (24, 20, 18)")


def _swap_two(case: Path) -> None:
    shutil.copy(file(case, "t1n"), file(case, "t1c"))


def _double(case: Path) -> None:
    shutil.copy(file(case, "t2w"), case / f"{NAME}_t2.nii.gz")


def _both_ages(case: Path) -> None:
    labels = tumor_labels()
    labels[10, 10, 10] = 4
    write_nifti(file(case, "seg"), labels)


def _outside(case: Path) -> None:
    labels = tumor_labels()
    labels[:3, :3, :3] = 2
    write_nifti(file(case, "seg"), labels)


def _no_background(case: Path) -> None:
    for seed, kind in enumerate(MODALITIES):
        write_nifti(file(case, kind), brain_values(seed=seed).astype(np.float32) + np.float32(1000))


def _thick(case: Path) -> None:
    affine = np.diag([1, 1, 5, 1]).astype(np.float64)
    for number, kind in enumerate(MODALITIES):
        write_nifti(file(case, kind), brain_values(seed=number).astype(np.float32), affine)
    write_nifti(file(case, "seg"), tumor_labels(), affine)


def _half(case: Path) -> None:
    values = brain_values(seed=5).astype(np.float32)
    values[:, 8:] = 0
    write_nifti(file(case, "t2w"), values)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda case: file(case, "seg").unlink(), "no seg (found: t1c, t1n, t2f, t2w)"),
        (_double, "t2w is there 2 times"),
        (_both_ages, "label values are 0, 1, 2, 3, 4"),
        (_swap_two, "t1c is the same image as t1n"),
        (_outside, "27 of 370 labelled voxels lie outside of the brain"),
        (_no_background, "100% of the voxels are not zero"),
        (_thick, "voxels are 1 x 1 x 5 mm"),
        (_half, "t2w covers"),
        (lambda case: write_nifti(file(case, "t2f"), np.zeros(SHAPE, np.float32)), "every voxel of t2f is zero"),
        (lambda case: write_nifti(file(case, "seg"), tumor_labels(), turned_affine("LAS")), "affine differs"),
    ],
)
def test_one_fault_is_one_row_with_something_to_do(spoil: Callable[[Path], object], words: str, case: Path) -> None:
    spoil(case)
    (problem,) = problems_of(case)
    assert words in problem.seen
    assert problem.remedy
    assert str(case.parent) not in problem.remedy + problem.seen
    assert not problem.seen.startswith(("case", "/"))


def test_a_link_that_leads_nowhere_is_named_and_not_where_it_leads(case: Path) -> None:
    image = file(case, "t1c")
    image.unlink()
    image.symlink_to(case.parent.parent / "Jane Doe" / image.name)
    (problem,) = problems_of(case)
    assert problem.file == image.name
    assert problem.seen == "cannot be read (No such file or directory): it is a link that leads nowhere"
    assert problem.remedy == "fetch that"


def test_a_description_needs_no_reference_and_no_cubes(case: Path) -> None:
    _thick(case)
    file(case, "seg").unlink()
    checked = check_case(find_cases([case])[0], for_training=False)
    assert isinstance(checked, Checked)
    assert checked.reference is None


def test_the_table_has_a_row_a_problem_and_columns_that_line_up() -> None:
    problems = [
        Problem(case="A", file="A-t1n.nii", seen="empty", remedy="copy it"),
        Problem(case="Long-name", file="", seen="bad", remedy="mend it"),
    ]
    assert problem_table(problems).splitlines() == [
        "case       file       what was seen  what to do",
        "A          A-t1n.nii  empty          copy it",
        "Long-name             bad            mend it",
    ]
    assert json.loads(json.dumps(problems_to_json(problems, ["A", "Long-name", "C"], "1.0"))) == {
        "ssa_fast": "1.0",
        "cases": 3,
        "problems": [
            {"case": "A", "file": "A-t1n.nii", "seen": "empty", "remedy": "copy it"},
            {"case": "Long-name", "file": "", "seen": "bad", "remedy": "mend it"},
        ],
    }


def test_a_real_case_has_no_problem(shared_ssa: Path) -> None:
    files = find_cases([shared_ssa])[0]
    assert isinstance(check_case(files), Checked)
