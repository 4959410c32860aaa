"""`ssa-fast infer`: its plans, what it keeps, its share of a cohort, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from ssa_fast.cli import infer, pace
from ssa_fast.errors import CohortError, ConfigError
from tests.cases import write_case, write_nifti


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pace, "cache_folder", lambda: tmp_path / "cache")
    for number in range(3):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    return tmp_path / "cases"


def _infer(cases: Path, bundle: Path, *more: str) -> Result:
    out = str(cases.parent / "out")
    given = [str(cases), "--bundle", str(bundle), "--backend", "ort", "--out", out, *more]
    return CliRunner().invoke(infer.command, given)


def test_a_plan_is_told_and_nothing_is_written(cases: Path, tiny_bundle_path: Path) -> None:
    done = _infer(cases, tiny_bundle_path, "--plan-only")
    assert done.exit_code == 0, done.output
    *told, beside = done.output.splitlines()
    assert [line.split(":")[0] for line in told] == ["Case-0", "Case-1", "Case-2"]
    assert "one pass of" in done.output
    assert beside.startswith("each beside the next, which is read meanwhile")
    assert not (cases.parent / "out").exists()


def test_plans_are_json_lines_too(cases: Path, tiny_bundle_path: Path) -> None:
    done = _infer(cases, tiny_bundle_path, "--plan-only", "--json", "--window", "16", "16", "16")
    plans = [json.loads(line) for line in done.stdout.splitlines()]
    assert [plan["case"] for plan in plans] == ["Case-0", "Case-1", "Case-2"]
    assert all(plan["window"] == [16, 16, 16] and plan["passes"] > 1 for plan in plans)


def test_a_plan_tells_seconds_once_the_network_has_run_here(cases: Path, tiny_bundle_path: Path) -> None:
    assert "about" not in _infer(cases, tiny_bundle_path, "--plan-only").output
    _infer(cases, tiny_bundle_path)
    assert ", about " in _infer(cases, tiny_bundle_path, "--plan-only").output


def test_windows_are_used_and_recorded(cases: Path, tiny_bundle_path: Path) -> None:
    done = _infer(cases, tiny_bundle_path, "--window", "16", "16", "16", "--overlap", "0.25", "--batch", "2")
    assert done.exit_code == 0, done.output
    record = json.loads((cases.parent / "out" / "Case-1.json").read_text())
    assert record["plan"]["window"] == [16, 16, 16]
    assert record["plan"]["passes"] > 1
    labels = np.asarray(nibabel.load(cases.parent / "out" / "Case-1.nii.gz").dataobj)
    assert labels.shape == nibabel.load(cases / "Case-1" / "Case-1-t1n.nii.gz").shape


def test_resuming_says_what_was_there_already(cases: Path, tiny_bundle_path: Path) -> None:
    _infer(cases, tiny_bundle_path)
    (cases.parent / "out" / "Case-2.nii.gz").unlink()
    done = _infer(cases, tiny_bundle_path, "--resume")
    assert done.exit_code == 0, done.output
    assert "[1/3] Case-0: there already" in done.output
    assert "2 of 3 cases were there already" in done.output
    assert "1 of 3 cases in" in done.output
    for other in (("--overlap", "0.25"), ("--resample", "never")):  # other settings: nothing is kept
        assert "there already" not in _infer(cases, tiny_bundle_path, "--resume", *other).output


def test_flips_and_several_bundles_are_planned_recorded_and_part_of_what_is_kept(
    cases: Path, tiny_bundle_path: Path
) -> None:
    other = cases.parent / "other.onnx"
    other.write_bytes(tiny_bundle_path.read_bytes())
    more = ("--bundle", str(other), "--mirror", "x")
    alone, planned = (
        json.loads(_infer(cases, tiny_bundle_path, "--plan-only", "--json", *options).stdout.splitlines()[0])
        for options in ((), more)
    )
    assert (alone["votes"], planned["votes"]) == (1, 4)
    assert planned["gflop"] == pytest.approx(4 * alone["gflop"])
    done = _infer(cases, tiny_bundle_path, *more)
    assert done.exit_code == 0, done.output
    assert "network tiny + tiny, mirrored along x, by onnxruntime" in done.output
    assert ", 4 votes each, " in done.output
    record = json.loads((cases.parent / "out" / "Case-1.json").read_text())
    assert record["asked_for"]["mirror"] == "x"
    assert len(record["bundle_sha256"]) == 2
    assert "3 of 3 cases were there already" in _infer(cases, tiny_bundle_path, *more, "--resume").output
    assert "there already" not in _infer(cases, tiny_bundle_path, *more[2:], "--resume").output
    assert "there already" not in _infer(cases, tiny_bundle_path, *more[:2], "--resume").output


def test_probabilities_are_written_vouched_for_and_taken_away_with_their_labels(
    cases: Path, tiny_bundle_path: Path
) -> None:
    done = _infer(cases, tiny_bundle_path, "--probabilities")
    assert done.exit_code == 0, done.output
    path = cases.parent / "out" / "Case-1-probabilities.nii.gz"
    written = nibabel.load(path)
    labels = np.asarray(nibabel.load(cases.parent / "out" / "Case-1.nii.gz").dataobj)
    assert written.shape == (*labels.shape, 4)
    assert written.get_data_dtype() == np.uint8
    most = written.get_fdata().max(axis=3)
    chosen = np.take_along_axis(written.get_fdata(), labels[..., None].astype(int), axis=3)[..., 0]
    np.testing.assert_allclose(chosen, most, atol=2 / 255)
    path.write_bytes(path.read_bytes()[:-1])
    again = _infer(cases, tiny_bundle_path, "--probabilities", "--resume")
    assert "2 of 3 cases were there already" in again.output
    assert nibabel.load(path).get_fdata().shape == written.shape
    assert _infer(cases, tiny_bundle_path, "--resume").exit_code == 0  # other settings: labels are made again
    assert not list((cases.parent / "out").glob("*-probabilities*"))


def test_uncertainty_is_told_recorded_and_mapped(cases: Path, tiny_bundle_path: Path) -> None:
    done = _infer(cases, tiny_bundle_path, "--uncertainty", "--mirror", "x", "--map-type", "float32")
    assert done.exit_code == 0, done.output
    assert "[2/3] Case-1: expected Dice WT 0." in done.output
    assert "; votes agree WT " in done.output
    out = cases.parent / "out"
    record = json.loads((out / "Case-1.json").read_text())
    assert list(record["doubt"]) == ["expected_dice", "agreement"]
    assert list(record["doubt"]["agreement"]) == ["WT", "TC", "ET"]
    assert record["look_first"]
    assert json.loads((out / "results.jsonl").read_text().splitlines()[1])["doubt"] == record["doubt"]
    assert sorted(record["maps_sha256"]) == ["disagreement", "entropy"]
    for kind in record["maps_sha256"]:
        written = nibabel.load(out / f"Case-1-{kind}.nii.gz")
        assert written.shape == nibabel.load(out / "Case-1.nii.gz").shape
        assert written.get_data_dtype() == np.float32
        assert 0 <= written.get_fdata().min() < written.get_fdata().max() <= 1


def test_postprocessing_is_recorded_and_part_of_what_is_kept(cases: Path, tiny_bundle_path: Path) -> None:
    _infer(cases, tiny_bundle_path)
    assert json.loads((cases.parent / "out" / "Case-1.json").read_text())["postprocessing"] == "none"
    done = _infer(cases, tiny_bundle_path, "--postprocess", "clean", "--resume")
    assert done.exit_code == 0, done.output
    assert "there already" not in done.output
    assert json.loads((cases.parent / "out" / "Case-1.json").read_text())["postprocessing"] == "clean"


def test_a_share_is_every_nth_case(cases: Path, tiny_bundle_path: Path) -> None:
    done = _infer(cases, tiny_bundle_path, "--shard", "1/2")
    assert done.exit_code == 0, done.output
    written = sorted(path.name for path in (cases.parent / "out").iterdir())
    assert written == ["Case-0.json", "Case-0.nii.gz", "Case-2.json", "Case-2.nii.gz", "results-1-of-2.jsonl"]


@pytest.mark.parametrize("share", ["0/2", "3/2", "1", "a/b", "/", "1/2/3", "-1/2", "²/3"])
def test_a_share_that_cannot_be_is_refused(share: str, cases: Path, tiny_bundle_path: Path) -> None:
    done = _infer(cases, tiny_bundle_path, "--shard", share)
    assert isinstance(done.exception, ConfigError)
    assert "such as 2/8" in str(done.exception)


def test_a_budget_that_cannot_be_met_fails_each_case_and_writes_nothing(cases: Path, tiny_bundle_path: Path) -> None:
    for more in ((), ("--plan-only",)):
        done = _infer(cases, tiny_bundle_path, "--max-ram", "1MB", *more)
        assert isinstance(done.exception, CohortError)
        assert "1 MB are granted" in done.output
    assert not list((cases.parent / "out").glob("*.nii.gz"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--json",), "--json goes with --plan-only"),
        (("--window", "0", "16", "16"), "must be above 0"),
        (("--mirror", "t"), "mirror 't': wanted axes of the brain"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    options: tuple[str, ...], words: str, cases: Path, tiny_bundle_path: Path
) -> None:
    done = _infer(cases, tiny_bundle_path, *options)
    assert isinstance(done.exception, ConfigError)
    assert words in str(done.exception)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--overlap", "1"), ("--batch", "0"), ("--max-ram", "0"), ("--precision", "int4"), ("--precision", "int8")],
)
def test_values_that_cannot_be_are_told_with_their_option(
    option: str, value: str, cases: Path, tiny_bundle_path: Path
) -> None:
    done = _infer(cases, tiny_bundle_path, option, value)
    assert done.exit_code == 2
    assert f"'{option}'" in done.output


def test_without_a_home_folder_only_the_seconds_are_missing(
    cases: Path, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise ConfigError("no folder")

    monkeypatch.setattr(pace, "cache_folder", homeless)
    assert _infer(cases, tiny_bundle_path).exit_code == 0
    assert "about" not in _infer(cases, tiny_bundle_path, "--plan-only").output


def test_force_segments_what_is_suspected(cases: Path, tiny_bundle_path: Path) -> None:
    path = cases / "Case-1" / "Case-1-t2w.nii.gz"
    image = nibabel.load(path)
    write_nifti(path, np.asarray(image.dataobj) + np.float32(500), image.affine)
    refused = _infer(cases, tiny_bundle_path)
    assert isinstance(refused.exception, CohortError)
    assert "[2/3] Case-1: the background of t2w is not zero: strip the skull first" in refused.output
    assert "2 of 3 cases in" in refused.output
    assert _infer(cases, tiny_bundle_path, "--force").exit_code == 0
    record = json.loads((cases.parent / "out" / "Case-1.json").read_text())
    assert record["overridden"] == ["the background of t2w is not zero"]
    assert record["is_forced"] is True


def test_other_spacing_is_resampled_and_planned_so_or_refused(cases: Path, tiny_bundle_path: Path) -> None:
    write_case(cases, "Case-3", affine=np.diag([1.0, 1, 5, 1]))
    assert "(resampled from voxels of 1 x 1 x 5 mm)" in _infer(cases, tiny_bundle_path, "--plan-only").output
    done = _infer(cases, tiny_bundle_path)
    assert done.exit_code == 0, done.output
    written, given = (nibabel.load(cases.parent / "out" / "Case-3.nii.gz"), cases / "Case-3" / "Case-3-t1n.nii.gz")
    assert written.shape == nibabel.load(given).shape
    record = json.loads((cases.parent / "out" / "Case-3.json").read_text())
    assert record["plan"]["resampled_from_mm"] == [1, 1, 5]
    for more in ((), ("--plan-only",)):
        refused = _infer(cases, tiny_bundle_path, "--resample", "never", *more)
        assert isinstance(refused.exception, CohortError)
        assert "voxels are 1 x 1 x 5 mm, wanted 1 x 1 x 1 mm" in refused.output
