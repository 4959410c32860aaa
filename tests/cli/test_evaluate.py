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
from ssa_fast.metrics.profiles import PROFILES
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
