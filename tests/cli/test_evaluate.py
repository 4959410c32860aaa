"""`ssa-fast evaluate` with a case among the others that cannot be scored or drawn."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.cli.evaluate import command
from ssa_fast.errors import BackendUnavailable, CohortError, ConfigError
from ssa_fast.evaluate.look_first import NO_RECORDS
from ssa_fast.files import sha256
from ssa_fast.metrics.profiles import PROFILES
from ssa_fast.volume.nifti import read_labels, write_maps
from tests.cases import tumor_labels, write_case, write_nifti

ONE, TWO, THREE = (f"BraTS-SSA-7000{number}-000" for number in (1, 2, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`cases` and `predictions` of three cases."""
    for name in (ONE, TWO, THREE):
        write_case(tmp_path / "cases", name)
        write_nifti(tmp_path / "predictions" / f"{name}.nii.gz", tumor_labels())
    return tmp_path


def _run(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(command, [str(folder / "predictions"), str(folder / "cases"), *options])


def _evaluate(folder: Path) -> Result:
    return _run(folder, "--figures", str(folder / "figures"))


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


@pytest.mark.parametrize("profile", PROFILES)
def test_metrics_by_name_go_to_the_screen_to_json_and_to_csv(folder: Path, profile: str) -> None:
    for library in ("scipy", "cc3d"):
        pytest.importorskip(library, reason="needs scipy and connected-components-3d: pip install 'ssa-fast[evaluate]'")
    record, table = folder / "scores.json", folder / "scores.csv"
    done = _run(folder, "--metrics", profile, "--json", str(record), "--csv", str(table))
    assert done.exit_code == 0, done.output
    assert PROFILES[profile].rule.splitlines()[0] in done.stdout
    kept = json.loads(record.read_text())
    assert kept["metrics"] == profile
    lines = list(csv.DictReader(io.StringIO(table.read_text())))
    assert len(lines) == 3 * len(PROFILES[profile].targets)
    for line in lines:
        values = kept["cases"][line["case"]]["scores"][line["target"]]
        assert {name: float(value) for name, value in line.items() if name not in ("case", "target")} == values


def test_metrics_without_the_extra_are_one_line_that_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("scipy.spatial", "cc3d"):
        monkeypatch.setitem(sys.modules, library, None)
    done = _run(folder, "--metrics", "brats2023")
    assert isinstance(done.exception, BackendUnavailable)
    assert "pip install 'ssa-fast[evaluate]'" in str(done.exception)
    assert _run(folder).exit_code == 0  # voxels need no extra


def test_groups_and_another_folder_are_told_and_kept(folder: Path) -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")
    for name in (ONE, TWO):
        write_nifti(folder / "others" / f"{name}.nii.gz", np.roll(tumor_labels(), 1, axis=0))
    sites = folder / "sites.csv"
    sites.write_text(f"case,site\n{ONE},Lagos\n{TWO},Accra\n{THREE},Accra\n")
    compared = ("--against", str(folder / "others"), "--scatter", str(folder / "scatter.png"))
    done = _run(folder, "--by", "site", "--table", str(sites), *compared, "--json", str(folder / "scores.json"))
    assert isinstance(done.exception, CohortError)
    assert f"1 of 3 cases could not be scored in --against: {THREE}" in str(done.exception)
    assert ["WT,", "Lagos", "1", "1.000"] in [line.split()[:4] for line in done.stdout.splitlines()]
    assert f"not compared: case {THREE}: no prediction" in done.stderr
    assert (folder / "scatter.png").is_file()
    kept = json.loads((folder / "scores.json").read_text())
    assert kept["statistics"]["WT"]["dice"]["count"] == 3
    assert kept["groups"]["column"] == "site"
    assert {site: its["WT"]["dice"]["count"] for site, its in kept["groups"]["statistics"].items()} == {
        "Accra": 2,
        "Lagos": 1,
    }
    assert kept["against"]["differences"]["WT"]["dice"]["higher"] == 2


def test_of_many_cases_that_failed_the_last_line_names_the_first_few(folder: Path) -> None:
    for number in range(10, 17):
        write_case(folder / "cases", f"BraTS-SSA-700{number}-000")
    done = _run(folder, "--json", str(folder / "scores.json"))
    assert isinstance(done.exception, CohortError)
    names = ", ".join(f"BraTS-SSA-700{number}-000" for number in range(10, 14))
    assert str(done.exception) == f"7 of 10 cases could not be scored: {names} and 3 more (each has its line above)"
    assert "case BraTS-SSA-70016-000: no prediction" in done.stdout
    assert "BraTS-SSA-70016-000" in json.loads((folder / "scores.json").read_text())["failures"]


def test_with_nothing_in_common_the_scores_are_written_all_the_same(folder: Path) -> None:
    pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")
    write_nifti(folder / "others" / "BraTS-SSA-79999-000.nii.gz", tumor_labels())
    kept = ("--json", str(folder / "scores.json"), "--csv", str(folder / "scores.csv"))
    done = _run(folder, "--against", str(folder / "others"), "--scatter", str(folder / "scatter.png"), *kept)
    assert isinstance(done.exception, CohortError)
    assert "no case was scored in both folders of predictions" in str(done.exception)
    record = json.loads((folder / "scores.json").read_text())
    assert record["mean"]["WT"]["dice"] == 1
    assert record["against"] == {"predictions": "others", "differences": {}}
    assert len((folder / "scores.csv").read_text().splitlines()) == 1 + 3 * 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--against", "absent"), "no such folder"),
        (("--by", "site", "--table", "sites.csv"), "cannot be read as CSV"),
    ],
)
def test_what_will_not_do_is_refused_before_a_case_is_scored(folder: Path, options: tuple[str, ...], said: str) -> None:
    paths = [str(folder / option) if not option.startswith("--") and option != "site" else option for option in options]
    done = _run(folder, *paths)
    assert said in str(done.exception)
    assert done.stdout == ""


def test_calibration_is_told_kept_and_drawn_by_group_and_a_case_without_a_map_is_named(folder: Path) -> None:
    for name in (ONE, TWO):
        path = folder / "predictions" / f"{name}.nii.gz"
        makers = [lambda label=label: (tumor_labels() == label).astype(np.float32) for label in range(4)]
        write_maps(path.with_name(f"{name}-probabilities.nii.gz"), makers, read_labels(path))
    (folder / "sites.csv").write_text(f"case,site\n{ONE},Lagos\n{TWO},Accra\n{THREE},Accra\n")
    kept = ("--json", str(folder / "scores.json"), "--csv", str(folder / "scores.csv"))
    by = ("--by", "site", "--table", str(folder / "sites.csv"))
    done = _run(folder, "--calibration", *by, *kept, "--figures", str(folder / "figures"))
    assert isinstance(done.exception, CohortError)
    assert str(done.exception).startswith(f"1 of 3 cases could not be calibrated: {THREE}")
    assert f"no {THREE}-probabilities.nii.gz" in done.stdout
    assert ["ECE", *["0.0000"] * 5] in [line.split() for line in done.stdout.splitlines()]
    record = json.loads((folder / "scores.json").read_text())["calibration"]
    assert (record["cases"][ONE]["WT"], record["groups"]["Lagos"]["WT"]) == (0, 0)
    rows = list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))
    assert [row["ece"] for row in rows if row["target"] == "WT"] == ["0.0", "0.0", ""]
    assert (folder / "figures" / "calibration.png").stat().st_size > 10_000


@pytest.mark.parametrize("profile", ["overlap", "plain"])  # plain has no regions
def test_cases_to_look_at_first_are_told_where_records_are_and_one_line_says_so_where_none_is(
    folder: Path, profile: str
) -> None:
    done = _run(folder, "--metrics", profile)
    assert done.stdout.splitlines()[-1] == NO_RECORDS
    for name, value in ((ONE, 0.9), (TWO, 0.7), (THREE, 0.8)):
        prediction = (folder / "predictions" / f"{name}.nii.gz").read_bytes()
        doubt = {"expected_dice": {"WT": value, "TC": 1.0, "ET": None}, "agreement": {}}
        record = {"output_sha256": sha256(prediction), "doubt": doubt, "look_first": []}
        (folder / "predictions" / f"{name}.json").write_text(json.dumps(record))
    done = _run(folder, "--metrics", profile, "--json", str(folder / "scores.json"))
    assert done.exception is None, done.output
    order = json.loads((folder / "scores.json").read_text())["look_first"]["order"]
    assert [look["case"] for look in order] == [TWO, THREE, ONE]
    listed = done.stdout.split("Cases to look at first:")[1]
    assert listed.index(TWO) < listed.index(THREE) < listed.index(ONE)


@pytest.mark.parametrize(("option", "needed"), [("--table", "--by"), ("--scatter", "--against")])
def test_an_option_that_would_not_be_used_is_refused(folder: Path, option: str, needed: str) -> None:
    done = _run(folder, option, str(folder / "x"))
    assert isinstance(done.exception, ConfigError)
    assert f"{option} is used with {needed} only" in str(done.exception)


def test_stress_leaves_a_sheet_in_every_form(folder: Path, tiny_bundle_path: Path) -> None:
    out = folder / "stress"
    done = _run(folder, "--stress", str(out), "--severity", "1", "--bundle", str(tiny_bundle_path), "--backend", "ort")
    assert done.exception is None, done.output
    strains = json.loads((out / "stress.json").read_text())["strains"]
    assert {strain["case"] for strain in strains} == {ONE, TWO, THREE}
    assert len((out / "stress.csv").read_text().splitlines()) == 1 + 3 * len(strains)
    assert (out / "stress.png").stat().st_size > 10_000
    assert "Mean Dice over 3 cases" in done.stdout
