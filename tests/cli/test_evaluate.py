"""`ssa-fast evaluate` with a case among the others that cannot be scored or drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.cli.evaluate import command
from ssa_fast.errors import CohortError
from tests.cases import tumor_labels, write_case, write_nifti

ONE, TWO, THREE = (f"BraTS-SSA-7000{number}-000" for number in (1, 2, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`cases` and `predictions` of three cases."""
    for name in (ONE, TWO, THREE):
        write_case(tmp_path / "cases", name)
        write_nifti(tmp_path / "predictions" / f"{name}.nii.gz", tumor_labels())
    return tmp_path


def _evaluate(folder: Path) -> Result:
    figures = ("--figures", str(folder / "figures"))
    return CliRunner().invoke(command, [str(folder / "predictions"), str(folder / "cases"), *figures])


def _drawn(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "figures").iterdir())


def test_a_case_that_cannot_be_drawn_is_named_and_the_others_are_drawn(folder: Path) -> None:
    (folder / "cases" / TWO / f"{TWO}-t1c.nii.gz").write_bytes(b"")  # scores need no images
    done = _evaluate(folder)
    assert _drawn(folder) == [ONE, THREE]
    assert isinstance(done.exception, CohortError)
    assert str(done.exception) == f"1 of 3 cases could not be drawn: {TWO} (each has its line above)"
    [line] = done.stderr.splitlines()
    assert line.startswith(f"case {TWO}: ")
    assert "the file is empty" in line


def test_cases_that_cannot_be_scored_and_cases_that_cannot_be_drawn_are_told_apart(folder: Path) -> None:
    (folder / "predictions" / f"{ONE}.nii.gz").unlink()
    (folder / "cases" / THREE / f"{THREE}-t2f.nii.gz").unlink()
    done = _evaluate(folder)
    assert _drawn(folder) == [TWO]
    assert isinstance(done.exception, CohortError)
    assert str(done.exception) == (
        f"1 of 3 cases could not be scored: {ONE}; 1 of 3 cases could not be drawn: {THREE} (each has its line above)"
    )
