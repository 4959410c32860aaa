"""`ssa-fast report` on tiny cases, to the files that it leaves."""

from __future__ import annotations

import csv
import html
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.cli.report import command
from ssa_fast.errors import CohortError, ConfigError
from ssa_fast.evaluate.look_first import NO_RECORDS
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
        assert NO_RECORDS in html.unescape(text)
        assert "Not looked into: no probabilities are beside the predictions" in text
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


def test_pages_are_written_where_asked_for_and_linked_below_their_list(folder: Path) -> None:
    (folder / "cases" / ONE / f"{ONE}-t1c.nii.gz").write_bytes(b"")
    done = _run(folder, "--metrics", "overlap", "--pages")
    assert isinstance(done.exception, CohortError)  # of the case that has neither slices nor page
    pages = folder / "out" / "pages"
    assert sorted(path.name for path in pages.iterdir()) == [f"{TWO}.html", "index.html"]
    text = (folder / "out" / "report.html").read_text()
    assert 0 < text.index('href="pages/index.html"') < text.index(f'href="pages/{TWO}.html"')
    assert f"pages/{ONE}.html" not in text
    assert ONE in json.loads((folder / "out" / "scores.json").read_text())["images_not_read"]


def test_calibration_and_what_to_look_at_first_are_in_every_form_where_the_files_are(folder: Path) -> None:
    from ssa_fast.volume.nifti import read_labels, write_maps

    path = folder / "predictions" / f"{TWO}.nii.gz"
    makers = [lambda label=label: (tumor_labels() == label).astype(np.float32) for label in range(4)]
    write_maps(path.with_name(f"{TWO}-probabilities.nii.gz"), makers, read_labels(path))
    doubt = {"expected_dice": {"WT": 0.625, "TC": 0.9, "ET": 0.9}, "agreement": {}}
    record = {
        "output_sha256": sha256(path.read_bytes()),
        "doubt": doubt,
        "look_first": ["WT"],
        "maps_sha256": {"probabilities": sha256(path.with_name(f"{TWO}-probabilities.nii.gz").read_bytes())},
    }
    (folder / "predictions" / f"{TWO}.json").write_text(json.dumps(record))
    done = _run(folder, "--metrics", "overlap")
    assert done.exception is None, done.output
    scores = json.loads((folder / "out" / "scores.json").read_text())
    assert scores["calibration"]["cases"] == {TWO: dict.fromkeys(("NCR", "ED", "ET", "WT", "TC"), 0.0)}
    assert [look["case"] for look in scores["look_first"]["order"]] == [TWO]
    assert scores["look_first"]["cases_without_record"] == [ONE]
    text = (folder / "out" / "report.md").read_text()
    assert f"| {TWO} | 0.625 | 0.900 | 0.900 | WT |" in text
    assert "| ECE | 0.0000 |" in text
    assert f"no {ONE}-probabilities.nii.gz" in text
    assert (folder / "out" / "figures" / "05_calibration.svg").stat().st_size > 10_000


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
