"""`ssa-fast page`: a page a case, a list of them, and what is said of a case that has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ssa_fast.cli.page import command
from ssa_fast.errors import CaseError, CohortError
from tests.cases import tumor_labels, write_case, write_nifti

ONE, TWO = "BraTS-SSA-70001-000", "BraTS-SSA-70002-000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`cases` and `predictions` of two cases, the second one worse."""
    for name, shift in ((ONE, 0), (TWO, 2)):
        write_case(tmp_path / "cases", name)
        write_nifti(tmp_path / "predictions" / f"{name}.nii.gz", np.roll(tumor_labels(), shift, axis=0))
    return tmp_path


def _run(folder: Path) -> Result:
    return CliRunner().invoke(
        command, [str(folder / "predictions"), str(folder / "cases"), "--out", str(folder / "pages")]
    )


def test_every_case_gets_a_page_and_the_list_links_them_worst_first(folder: Path) -> None:
    done = _run(folder)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (folder / "pages").iterdir()) == [f"{ONE}.html", f"{TWO}.html", "index.html"]
    listed = (folder / "pages" / "index.html").read_text()
    assert 0 < listed.index(f'href="{TWO}.html"') < listed.index(f'href="{ONE}.html"')


def test_a_case_without_a_page_is_named_and_the_others_have_theirs(folder: Path) -> None:
    (folder / "cases" / ONE / f"{ONE}-t1c.nii.gz").write_bytes(b"")
    done = _run(folder)
    assert isinstance(done.exception, CohortError)
    assert str(done.exception) == f"1 of 2 cases have no page: {ONE} (each has its line above)"
    assert "the file is empty" in done.stderr
    assert sorted(path.name for path in (folder / "pages").iterdir()) == [f"{TWO}.html", "index.html"]
    assert "the file is empty" in (folder / "pages" / "index.html").read_text()


def test_a_folder_without_predictions_is_refused_before_anything_is_written(folder: Path) -> None:
    for path in (folder / "predictions").iterdir():
        path.unlink()
    assert isinstance(_run(folder).exception, CaseError)
    assert not (folder / "pages").exists()
