"""`ssa-fast report` on tiny cases, to the files that it leaves."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.cli.report import command
from ssa_fast.errors import CohortError, ConfigError
from ssa_fast.evaluate.provenance import RESEARCH_ONLY
from ssa_fast.evaluate.run_report import SCHEMA, SCHEMA_VERSION
from ssa_fast.files import sha256
from ssa_fast.pretrained import bundle_path
from tests.cases import tumor_labels, write_case, write_nifti
from tests.evaluate.test_training_run import epochs, write_run

ONE, TWO = "BraTS-SSA-70001-000", "BraTS-SSA-70002-000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`cases` and `predictions`: the first as the reference, the second moved by a voxel."""
    for shift, name in enumerate((ONE, TWO)):
        write_case(tmp_path / "cases", name)
        write_nifti(tmp_path / "predictions" / f"{name}.nii.gz", np.roll(tumor_labels(), shift, axis=0))
    return tmp_path


def _run(folder: Path, *options: str) -> Result:
    arguments = [str(folder / "predictions"), str(folder / "cases"), "--out", str(folder / "out"), *options]
    return CliRunner().invoke(command, arguments)


def test_a_report_holds_the_scores_in_every_form_and_every_figure_twice(folder: Path) -> None:
    (folder / "out" / "pages").mkdir(parents=True)
    (folder / "out" / "pages" / f"{TWO}.html").write_text("a page of this case")
    done = _run(folder, "--metrics", "overlap")
    assert done.exception is None, done.output
    out = folder / "out"
    scores = json.loads((out / "scores.json").read_text())
    assert (scores["schema"], scores["schema_version"]) == (SCHEMA, SCHEMA_VERSION)
    assert scores["cases"][ONE]["scores"]["WT"]["dice"] == 1
    dice = scores["cases"][TWO]["scores"]["WT"]["dice"]
    assert dice == pytest.approx(6 / 7)  # moved by one voxel of seven
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [row["dice"] for row in rows if (row["case"], row["target"]) == (TWO, "WT")] == [str(dice)]
    anatomy = scores["anatomy"][TWO]
    assert anatomy["prediction"]["shapes"]["WT"]["volume_ml"] == pytest.approx(7**3 / 1000)
    moved = (
        anatomy["prediction"]["shapes"]["WT"]["centroid_mm"][0] - anatomy["reference"]["shapes"]["WT"]["centroid_mm"][0]
    )
    assert moved == pytest.approx(1)  # mm, to the right
    assert (out / "figures" / "cases" / f"{TWO}.svg").stat().st_size > 10_000
    for page in ("report.md", "report.html"):
        text = (out / page).read_text()
        assert RESEARCH_ONLY in text
        assert "Not looked into: the training cases are not known" in text
        assert f"{(1 + dice) / 2:.3f}" in text  # the mean
        assert f"pages/{TWO}.html" in text
        assert f"pages/{ONE}.html" not in text  # there is none
    for name in ("02_performance_dashboard", "04_evaluation"):
        for kind in ("png", "svg"):
            assert (out / "figures" / f"{name}.{kind}").stat().st_size > 10_000
        assert f"figures/{name}.png" in (out / "report.html").read_text()


def test_a_case_without_a_prediction_and_one_without_images_are_named_and_the_rest_is_done(folder: Path) -> None:
    (folder / "predictions" / f"{ONE}.nii.gz").unlink()
    (folder / "cases" / TWO / f"{TWO}-t1c.nii.gz").write_bytes(b"")  # scores need no images, slices do
    done = _run(folder, "--metrics", "overlap")
    assert isinstance(done.exception, CohortError)
    assert str(done.exception).startswith(f"2 of 2 cases could not be reported in full: {ONE}, {TWO}")
    text = (folder / "out" / "report.md").read_text()
    assert "not scored: 1" in text
    assert json.loads((folder / "out" / "scores.json").read_text())["images_not_read"].keys() == {TWO}


def test_the_training_cases_of_a_shipped_bundle_are_known_by_the_records_alone(folder: Path) -> None:
    record = {"bundle_sha256": sha256(bundle_path("lite").read_bytes())}
    (folder / "predictions" / f"{ONE}.json").write_text(json.dumps(record))
    done = _run(folder, "--metrics", "overlap")
    assert done.exception is None, done.output
    outside = json.loads((folder / "out" / "scores.json").read_text())["outside_training"]
    assert any(said.startswith("brain ") for said in outside[ONE])  # tiny
    assert "12 training cases" in (folder / "out" / "report.md").read_text()


def test_the_cases_of_predictions_must_be_named(folder: Path) -> None:
    done = CliRunner().invoke(command, [str(folder / "predictions")])
    assert isinstance(done.exception, ConfigError)
    assert "name them, too" in str(done.exception)


def test_a_training_run_is_reported_by_its_folder_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", epochs())
    done = CliRunner().invoke(command, [str(run), "--out", str(tmp_path / "out")])
    assert done.exception is None, done.output
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| 2 | 200 | 0.3333 | 1.00e-02 | 0.800 |" in text
    assert RESEARCH_ONLY in text
    for name in ("01_training_curves", "03_training_dynamics"):
        assert (tmp_path / "out" / "figures" / f"{name}.svg").stat().st_size > 10_000
    again = CliRunner().invoke(command, [str(run), str(run), "--out", str(tmp_path / "out")])
    assert isinstance(again.exception, ConfigError)
