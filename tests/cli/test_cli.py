"""The command line as a user meets it: exit codes, one line on bad input, nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ssa_fast.cli import main
from tests.cases import tumor_labels, write_case, write_nifti


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`ssa-fast` in a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "ssa_fast", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def error_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of stderr, which must be the error's only one."""
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return write_case(tmp_path / "cases", "BraTS-SSA-70001-000")


def test_help_names_every_verb_and_imports_no_heavy_library() -> None:
    code = (
        "import sys; from ssa_fast.cli import cli; cli(['--help'], standalone_mode=False)\n"
        "assert not {'numpy', 'torch', 'nibabel', 'onnxruntime'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for verb in (
        "describe",
        "doctor",
        "roofline",
        "prepare",
        "verify",
        "train",
        "export",
        "infer",
        "evaluate",
        "phantom",
    ):
        assert verb in done.stdout


@pytest.mark.parametrize(
    "verb", ["describe", "doctor", "roofline", "prepare", "verify", "train", "export", "infer", "evaluate", "phantom"]
)
def test_every_verb_has_help(verb: str) -> None:
    assert run(verb, "--help").returncode == 0


@pytest.mark.parametrize("backend", ["ort", "auto"])
def test_infer_writes_label_maps_and_says_what_it_did(
    backend: str, case: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    done = run("infer", case.parent, "--bundle", tiny_bundle_path, "--backend", backend, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    written = nibabel.load(tmp_path / "out" / f"{case.name}.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert json.loads((tmp_path / "out" / f"{case.name}.json").read_text())["case"] == case.name
    for words in ("network tiny by", "one pass of", "GFLOP", "peak memory", "1 of 1 cases"):
        assert words in done.stdout
    assert ("backend openvino:" in done.stdout) == (backend == "auto")


def test_four_named_files_are_a_case(case: Path, tiny_bundle_path: Path, tmp_path: Path) -> None:
    named = []
    for modality in ("t1n", "t1c", "t2w", "t2f"):
        path = tmp_path / f"scan_{modality.upper()}_x.nii.gz"
        (case / f"{case.name}-{modality}.nii.gz").rename(path)
        named += [f"--{modality}", path]
    done = run("infer", *named, "--bundle", tiny_bundle_path, "--backend", "ort", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "scan_T1N_x.nii.gz").exists()


def test_one_file_as_two_modalities_is_refused(case: Path, tiny_bundle_path: Path, tmp_path: Path) -> None:
    files = [case / f"{case.name}-{modality}.nii.gz" for modality in ("t1n", "t1n", "t2w", "t2f")]
    options = zip(("--t1n", "--t1c", "--t2w", "--t2f"), files, strict=True)
    named = [word for pair in options for word in pair]
    done = run("infer", *named, "--bundle", tiny_bundle_path, "--backend", "ort", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "is given as t1n and as t1c: give each its own" in done.stderr
    assert not list((tmp_path / "out").iterdir())


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _not_a_number(path: Path) -> None:
    image = nibabel.load(path)
    values = np.asarray(image.dataobj).copy()
    values[5, 5, 5] = np.nan
    write_nifti(path, values, image.affine)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (Path.unlink, "no t2w"),
        (_empty, "is empty"),
        (_cut, "cut off"),
        (_not_a_number, "NaN"),
        (lambda path: path.write_text("hello"), "not a gzip file"),
    ],
    ids=["missing", "empty", "cut-off", "nan", "text"],
)
def test_a_bad_case_is_one_line_exit_2_and_no_file(
    spoil: Callable[[Path], object], words: str, case: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    good = write_case(case.parent, "BraTS-SSA-70002-000")
    spoil(case / f"{case.name}-t2w.nii.gz")
    done = run("infer", case.parent, "--bundle", tiny_bundle_path, "--backend", "ort", "--out", tmp_path / "out")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 2  # the case's own, and the sum at the end
    assert case.name in lines[0]
    assert words in lines[0]
    assert lines[0].count(case.name) <= 3  # once as the case, and in its file's path
    assert lines[1] == f"error: 1 of 2 cases failed: {case.name} (each has its line above)"
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"{good.name}.json", f"{good.name}.nii.gz", "results.jsonl"]


def test_two_cases_of_one_name_are_refused_before_anything_is_written(
    case: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    write_case(tmp_path / "more", case.name)
    done = run("infer", case, tmp_path / "more", "--bundle", tiny_bundle_path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "two cases are called" in error_line(done)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("infer",), "no case is given"),
        (("infer", "nowhere"), "nowhere: no such file or folder"),
        (("infer", "--t1n", "a.nii"), "--t1c --t2w --t2f missing"),
        (("infer", ".", "--t1n", "a.nii"), "not both"),
        (("infer", ".", "--backend", "abacus"), "'abacus' is not one of"),
        (("infer", ".", "--bundle", "huge"), "no bundle 'huge' comes with ssa-fast"),
        (("infer", ".", "--bundle", "gone.onnx"), "gone.onnx: cannot be read"),
        (("phantom", "out", "--cases", "0"), "0"),
        (("export", "gone.safetensors", "--out", "x.txt"), "ends in .onnx"),
        (("export", "gone.safetensors", "--out", "x.onnx"), "gone.safetensors: cannot be read"),
        (
            ("infer", ".", "--bundle", "last.safetensors"),
            "a checkpoint, not a bundle: make one of it with 'ssa-fast export'",
        ),
        (("train", ".", "--out", "run", "--fold", "0"), "--splits and --fold belong together"),
        (("train", ".", "--out", "run", "--recipe", "gone.toml"), "gone.toml: cannot be read"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_2(arguments: tuple[str, ...], words: str, case: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "ssa_fast", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=case)
    assert done.returncode == 2, done.stderr
    assert words in error_line(done)
    assert sorted(path.name for path in case.parent.iterdir()) == [case.name]


VERBS = ("describe", "evaluate", "export", "infer", "phantom", "prepare", "train", "verify")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        *(((verb, "--zzz"), f"No such option '--zzz' (see 'ssa-fast {verb} --help')") for verb in VERBS),
        (("paint",), "No such command 'paint' (see 'ssa-fast --help')"),
        (("train", "."), "Missing option '--out' (see 'ssa-fast train --help')"),
        (("train", "--out", "x"), "Missing argument 'CASES...' (see 'ssa-fast train --help')"),
        (
            ("train", ".", "--out", "x", "--steps", "many"),
            "Invalid value for '--steps': 'many' is not a valid integer (see 'ssa-fast train --help')",
        ),
    ],
)
def test_a_wrong_call_is_one_line_that_names_the_help(
    arguments: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["anything", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_without_a_verb_the_whole_help_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["anything"])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr()
    assert (shown.out + shown.err).startswith("Usage: ssa-fast [OPTIONS] COMMAND")


def test_a_damaged_bundle_is_one_line(case: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x0a\x12")
    done = run("infer", case, "--bundle", tmp_path / "bad.onnx", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "not an ONNX file" in error_line(done)


def test_evaluate_prints_scores_writes_json_and_draws(case: Path, tmp_path: Path) -> None:
    write_nifti(tmp_path / "predictions" / f"{case.name}.nii.gz", tumor_labels())
    arguments = ("--json", tmp_path / "scores.json", "--figures", tmp_path / "figures")
    done = run("evaluate", tmp_path / "predictions", case.parent, *arguments)
    assert done.returncode == 0, done.stderr
    assert "1.000" in done.stdout
    assert json.loads((tmp_path / "scores.json").read_text())["mean"]["WT"]["dice"] == 1
    assert (tmp_path / "figures" / f"{case.name}.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_names_a_case_without_prediction_and_scores_the_rest(case: Path, tmp_path: Path) -> None:
    write_case(case.parent, "BraTS-SSA-70002-000")
    write_nifti(tmp_path / "predictions" / f"{case.name}.nii.gz", tumor_labels())
    done = run("evaluate", tmp_path / "predictions", case.parent, "--json", tmp_path / "scores.json")
    assert done.returncode == 2
    assert "1 of 2 cases could not be scored: BraTS-SSA-70002-000" in error_line(done)
    assert list(json.loads((tmp_path / "scores.json").read_text())["cases"]) == [case.name]


@pytest.mark.slow
def test_a_network_goes_from_training_to_a_segmentation(tmp_path: Path) -> None:
    for number in range(2):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    (tmp_path / "short.toml").write_text("patch = [16, 16, 32]\nreport_every = 1\n")
    (tmp_path / "splits.toml").write_text('folds = [["Case-0"], ["Case-1"]]\n')
    folds = ("--splits", tmp_path / "splits.toml", "--fold", 0)
    settings = ("--recipe", tmp_path / "short.toml", "--steps", 2, "--out", tmp_path / "run")
    done = run("train", tmp_path / "cases", *folds, *settings)
    assert done.returncode == 0, done.stderr
    assert "training on 1 cases, validating on 1" in done.stdout
    assert "step 2/2" in done.stdout
    assert "Dice background" in done.stdout
    bundle, proof = tmp_path / "lite.onnx", tmp_path / "cases" / "Case-0"
    done = run("export", tmp_path / "run" / "last.safetensors", "--out", bundle, "--case", proof, "--score", "x=0.5")
    assert done.returncode == 0, done.stderr
    assert "of brain voxels with equal labels" in done.stdout
    done = run("infer", proof, "--bundle", bundle, "--backend", "ort", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "Case-0.nii.gz").exists()
