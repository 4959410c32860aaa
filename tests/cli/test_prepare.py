"""prepare, verify, describe and training on what was prepared, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ssa_fast.cli import describe, prepare, train, verify
from ssa_fast.errors import BackendUnavailable, CaseError, CohortError, ConfigError
from ssa_fast.evaluate.outside import read_ranges
from ssa_fast.model.checkpoint import load_checkpoint
from ssa_fast.model.spec import PRESETS
from ssa_fast.prepare.prepared import PatchSettings
from tests.cases import write_case
from tests.networks import tiny_config

RECIPE = """
patch = [16, 16, 16]
steps = 3
precision = "float32"
"""


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for number in range(2):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    return tmp_path / "cases"


def run(module: object, *arguments: object) -> Result:
    command = module.command  # type: ignore[attr-defined]  # a verb's module
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_prepare_says_what_it_did_and_the_second_time_that_nothing_was_to_do(cases: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(prepare, cases, "--out", out)
    assert done.exit_code == 0, done.output
    assert "Case-0  prepared (new)" in done.output
    assert f"2 cases: 2 prepared; {out} holds 2" in done.output
    assert not (out / "problems.json").exists()
    assert f"2 cases: 2 kept; {out} holds 2" in run(prepare, cases, "--out", out).output
    alone = run(prepare, cases / "Case-1", "--out", out)
    assert "not given this time, and still there: Case-0" in alone.output


def test_all_problems_are_one_table_and_one_file_which_goes_when_they_are_mended(cases: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good = {}
    for name in ("Case-0/Case-0-t1c.nii.gz", "Case-1/Case-1-t2w.nii.gz", "Case-1/Case-1-seg.nii.gz"):
        good[name] = (cases / name).read_bytes()
        (cases / name).write_bytes(b"")
    done = run(prepare, cases, "--out", out)
    assert isinstance(done.exception, CohortError)
    assert "2 of 2 cases cannot be used: Case-0, Case-1" in str(done.exception)
    rows = json.loads((out / "problems.json").read_text())["problems"]
    assert [row["file"] for row in rows] == [Path(name).name for name in good]
    for row in rows:
        assert row["file"] in done.output
        assert row["remedy"] == "copy it again"
    elsewhere = tmp_path / "mine.json"
    assert run(prepare, cases, "--out", out, "--json", elsewhere).exception is not None
    assert json.loads(elsewhere.read_text())["problems"] == rows
    for name, content in good.items():
        (cases / name).write_bytes(content)
    assert run(prepare, cases, "--out", out).exit_code == 0
    assert not (out / "problems.json").exists()


def test_patches_are_written_verified_and_found_damaged(cases: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(prepare, cases, "--out", out, "--patches", "--patches-per-case", 3)
    assert done.exit_code == 0, done.output
    assert f"patches: {out / 'patches'}" in done.output
    patches = sorted((out / "patches").iterdir())
    # a brain of 24 x 20 x 18 voxels has one place for a patch of 128
    assert [path.name for path in patches] == ["Case-0_patch_0.npz", "Case-1_patch_0.npz"]
    for folder in (out, out / "patches"):
        verified = run(verify, folder)
        assert verified.exit_code == 0, verified.output
        assert "2 patches; problems: 0" in verified.output
    patches[1].write_bytes(patches[1].read_bytes()[:-5])
    report = tmp_path / "verified.json"
    verified = run(verify, out, "--json", report)
    assert isinstance(verified.exception, CohortError)
    assert "1 cases have problems: Case-1" in str(verified.exception)
    assert json.loads(report.read_text())["problems"][0]["file"] == "Case-1_patch_0.npz"
    assert "1 of 1 patches missing or damaged" in run(prepare, cases, "--out", out).output
    assert run(verify, out).exit_code == 0


def test_settings_of_patches_without_patches_are_an_error_and_not_passed_over(cases: Path, tmp_path: Path) -> None:
    for option in ("--seed", "--patches-per-case"):
        done = run(prepare, cases, "--out", tmp_path / "out", option, 3)
        assert isinstance(done.exception, ConfigError)
    assert not (tmp_path / "out").exists()


def test_sixteen_patches_of_the_original_form_are_the_default() -> None:
    assert PatchSettings() == PatchSettings(count=16, seed=0, shape=(128, 128, 128))


def test_describe_writes_numbers_and_one_figure_and_names_what_it_cannot_read(cases: Path, tmp_path: Path) -> None:
    done = run(describe, cases, "--out", tmp_path / "d")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["description.json", "description.png"]
    assert json.loads((tmp_path / "d" / "description.json").read_text())["cases"] == 2
    (cases / "Case-0" / "Case-0-t1n.nii.gz").unlink()
    done = run(describe, cases, "--out", tmp_path / "e", "--no-figure")
    assert isinstance(done.exception, CohortError)
    assert "no t1n" in done.output
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["description.json"]


def test_the_ranges_of_a_description_are_written_where_asked_for_and_read_again(cases: Path, tmp_path: Path) -> None:
    done = run(describe, cases, "--out", tmp_path / "d", "--no-figure", "--ranges")
    assert done.exit_code == 0, done.output
    ranges = read_ranges(tmp_path / "d" / "ranges.json")
    assert ranges == read_ranges(tmp_path / "d" / "description.json")
    assert ranges.cases == 2


def test_describe_without_matplotlib_says_so_before_it_reads(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ssa_fast.prepare.describe_figure", None)
    done = run(describe, cases, "--out", tmp_path / "d")
    assert isinstance(done.exception, BackendUnavailable)
    assert "pip install 'ssa-fast[report]', or --no-figure" in str(done.exception)
    assert not (tmp_path / "d").exists()


def test_training_on_a_prepared_folder_is_training_on_its_cases(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "fast", tiny_config())
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "splits.toml").write_text('folds = [["Case-1"]]')
    run(prepare, cases, "--out", tmp_path / "prepared")
    options = ["--recipe", tmp_path / "recipe.toml", "--splits", tmp_path / "splits.toml", "--fold", 0]
    weights = []
    for place in (cases, tmp_path / "prepared"):
        done = run(train, place, *options, "--out", tmp_path / f"run-{place.name}")
        assert done.exit_code == 0, done.output
        weights.append(load_checkpoint(tmp_path / f"run-{place.name}" / "last.safetensors").tensors)
    for name, tensor in weights[0].items():
        assert tensor.equal(weights[1][name]), name
    cases.rename(tmp_path / "gone")
    done = run(train, tmp_path / "prepared", *options, "--out", tmp_path / "run-without")
    assert isinstance(done.exception, CaseError)
    assert "case Case-1: was prepared from" in str(done.exception)
    done = run(train, tmp_path / "prepared", *options[:2], "--out", tmp_path / "run-all")
    assert done.exit_code == 0, done.output
