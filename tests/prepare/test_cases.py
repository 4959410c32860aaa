"""Prepared folders: what is written, what is left alone, and that a stop at any moment does no harm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ssa_fast import files as whole_files
from ssa_fast.errors import CaseError, ConfigError
from ssa_fast.files import sha256
from ssa_fast.prepare import folder as module
from ssa_fast.prepare import patches as patches_module
from ssa_fast.prepare import prepared as prepared_module
from ssa_fast.prepare.cases import Outcome, prepare_cases
from ssa_fast.prepare.prepared import PatchSettings, is_prepared, prepared_cases, read_manifest
from ssa_fast.prepare.verify import verify_folder
from ssa_fast.volume.case import find_cases, read_case, read_reference
from ssa_fast.volume.preprocess import crop_to_brain
from tests.cases import tumor_labels, turned_affine, write_case, write_nifti

PATCHES = PatchSettings(count=2, shape=(8, 8, 8))
MOMENTS = 23  # files that a preparation of two new cases and a changed one writes


def prepare(cases: Path, out: Path, patches: PatchSettings | None = None) -> list[Outcome]:
    return list(prepare_cases(find_cases([cases]), out, "0.0", patches))


def actions(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.name: f"{outcome.action} {outcome.why}".strip() for outcome in outcomes}


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for number in range(3):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    return tmp_path / "cases"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prepared"


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SLA"])
def test_a_prepared_case_is_what_inference_would_see_with_its_labels(axes: str, tmp_path: Path) -> None:
    write_case(tmp_path / "cases", "Case-0", affine=turned_affine(axes))
    prepare(tmp_path / "cases", tmp_path / "out")
    (files,) = find_cases([tmp_path / "cases"])
    brain = crop_to_brain(read_case(files))
    (prepared,) = prepared_cases(tmp_path / "out")
    volume, labels = prepared.arrays()
    assert isinstance(volume, np.memmap)
    assert volume.dtype == np.float16
    np.testing.assert_array_equal(volume, brain.array.astype(np.float16))
    np.testing.assert_array_equal(labels, read_reference(files, read_case(files))[brain.box.slices])
    assert prepared.entry.box == brain.box
    assert prepared.entry.ras_shape == brain.ras_shape
    np.testing.assert_array_equal(prepared.entry.affine, turned_affine(axes))


def test_the_manifest_has_fingerprints_of_all_that_went_in_and_came_out(cases: Path, out: Path) -> None:
    prepare(cases, out)
    entry = read_manifest(out).cases["Case-1"]
    for kind in ("t1n", "t1c", "t2w", "t2f", "seg"):
        file = entry.inputs[kind]
        assert sha256((out / entry.source / file.file).read_bytes()) == file.sha256
    for file, known in entry.outputs.items():
        assert sha256((out / "Case-1" / file).read_bytes()) == known
    assert entry.label_voxels == {"NCR": 27, "ED": 218, "ET": 98}
    assert sum(entry.label_voxels.values()) == np.count_nonzero(tumor_labels())


def test_a_second_run_touches_nothing(cases: Path, out: Path) -> None:
    assert actions(prepare(cases, out, PATCHES)) == {f"Case-{number}": "prepared new" for number in range(3)}
    before = state(out)
    assert actions(prepare(cases, out, PATCHES)) == {f"Case-{number}": "kept" for number in range(3)}
    assert actions(prepare(cases, out)) == {f"Case-{number}": "kept" for number in range(3)}
    assert state(out) == before


def test_only_what_changed_is_missing_or_damaged_is_made_again(cases: Path, out: Path) -> None:
    prepare(cases, out)
    fresh = state(out)
    (out / "Case-0" / "labels.npy").unlink()
    damaged = out / "Case-1" / "volume.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert actions(prepare(cases, out)) == {
        "Case-0": "prepared labels.npy missing or damaged",
        "Case-1": "prepared volume.npy missing or damaged",
        "Case-2": "kept",
    }
    assert {path: content for path, (_, content) in state(out).items()} == {
        path: content for path, (_, content) in fresh.items()
    }
    write_nifti(cases / "Case-2" / "Case-2-seg.nii.gz", np.roll(tumor_labels(), 1, axis=0))
    assert actions(prepare(cases, out))["Case-2"] == "prepared seg changed"


def test_labels_of_older_releases_are_mapped_and_the_mapping_is_kept(cases: Path, out: Path) -> None:
    labels = tumor_labels()
    write_nifti(cases / "Case-1" / "Case-1-seg.nii.gz", np.where(labels == 3, 4, labels).astype(np.uint8))
    assert not any(outcome.problems for outcome in prepare(cases, out))
    manifest = read_manifest(out)
    assert manifest.cases["Case-0"].label_mapping == {}
    assert manifest.cases["Case-1"].label_mapping == {"4": 3}
    assert manifest.cases["Case-1"].label_values == (0, 1, 2, 4)
    one, other = prepared_cases(out)[:2]
    np.testing.assert_array_equal(one.arrays()[1], other.arrays()[1])


def test_a_set_in_which_4_may_mean_something_else_is_refused_also_when_it_was_prepared_before(
    cases: Path, out: Path
) -> None:
    labels = tumor_labels()
    write_nifti(cases / "Case-1" / "Case-1-seg.nii.gz", np.where(labels == 3, 4, labels).astype(np.uint8))
    prepare(cases, out)
    labels[labels == 1] = 4  # beside 3
    write_nifti(cases / "Case-2" / "Case-2-seg.nii.gz", labels)
    outcomes = {outcome.name: outcome for outcome in prepare(cases, out)}
    assert outcomes["Case-0"].action == "kept"
    assert "label 4 without 3, while case Case-2" in outcomes["Case-1"].problems[0].seen
    assert "label values are 0, 2, 3, 4" in outcomes["Case-2"].problems[0].seen
    assert list(read_manifest(out).cases) == ["Case-0"]


def test_all_problems_of_all_cases_are_found_and_the_good_case_is_done(cases: Path, out: Path) -> None:
    (cases / "Case-0" / "Case-0-t1c.nii.gz").unlink()
    (cases / "Case-0" / "Case-0-seg.nii.gz").write_bytes(b"no")
    shutil.copy(cases / "Case-1" / "Case-1-t2w.nii.gz", cases / "Case-2" / "Case-2-t2w.nii.gz")
    (cases / "Case-2" / "Case-2-t2f.nii.gz").unlink()
    outcomes = prepare(cases, out)
    assert [outcome.action for outcome in outcomes] == ["refused", "prepared", "refused"]
    seen = [(problem.case, problem.file) for outcome in outcomes for problem in outcome.problems]
    assert seen == [
        ("Case-0", "Case-0-t1c"),
        ("Case-0", "Case-0-seg.nii.gz"),
        ("Case-2", "Case-2-t2w.nii.gz"),
        ("Case-2", "Case-2-t2f"),
    ]
    assert outcomes[2].problems[0].seen == "the same file as t2w of case Case-1"
    assert [case.name for case in prepared_cases(out)] == ["Case-1"]


def test_a_case_that_went_bad_leaves_the_manifest_and_comes_back(cases: Path, out: Path) -> None:
    prepare(cases, out)
    good = (cases / "Case-0" / "Case-0-t1n.nii.gz").read_bytes()
    (cases / "Case-0" / "Case-0-t1n.nii.gz").write_bytes(good[:100])
    assert prepare(cases, out)[0].action == "refused"
    assert "Case-0" not in read_manifest(out).cases
    (cases / "Case-0" / "Case-0-t1n.nii.gz").write_bytes(good)
    assert actions(prepare(cases, out)) == {"Case-0": "prepared new", "Case-1": "kept", "Case-2": "kept"}


def test_cases_that_are_not_given_stay_until_their_folder_is_removed(
    cases: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(cases, out)
    prepare(cases / "Case-1", out)
    assert list(read_manifest(out).cases) == ["Case-0", "Case-1", "Case-2"]
    shutil.rmtree(out / "Case-0")
    prepare(cases / "Case-1", out)
    assert list(read_manifest(out).cases) == ["Case-1", "Case-2"]
    assert "their folders were removed: Case-0" in caplog.text


def test_a_renamed_case_is_known_by_its_files(cases: Path, out: Path) -> None:
    prepare(cases, out)
    write_case(cases.parent / "renamed", "Other", seed=0)
    (outcome,) = prepare(cases.parent / "renamed", out)
    assert len(outcome.problems) == 4
    assert "was Case-0 renamed?" in outcome.problems[0].remedy


class _Killed(BaseException):
    """As SIGKILL: nothing is cleaned up after it, for the test calls nothing after it."""


def _kill_at(moment: int, patch: pytest.MonkeyPatch) -> None:
    """Stop whatever writes the file that follows `moment` others."""
    written: list[Path] = []

    def write(path: Path, content: bytes) -> None:
        if len(written) == moment:
            path.parent.mkdir(exist_ok=True)
            (path.parent / f".{path.name}.1.partial").write_bytes(content[:10])  # what a kill leaves there
            raise _Killed
        written.append(path)
        whole_files.write_whole(path, content)

    for place in (module, patches_module):
        patch.setattr(place, "write_whole", write)
    patch.setattr(prepared_module, "write_json", lambda path, value: write(path, json.dumps(value).encode()))


@pytest.mark.parametrize("moment", range(6))
def test_a_stop_while_a_case_is_made_again_does_not_forget_its_patches(
    moment: int, cases: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(cases, out, PATCHES)
    write_case(cases, "Case-1", seed=7)
    with monkeypatch.context() as patch:
        _kill_at(moment, patch)
        with pytest.raises(_Killed):
            prepare(cases, out)
    for verified in verify_folder(out):
        if verified.name == "Case-1":
            assert verified.problems, "it has no patches"
    prepare(cases, out)
    assert {name: len(entry.patches.files) for name, entry in read_manifest(out).cases.items() if entry.patches} == {
        f"Case-{number}": 2 for number in range(3)
    }
    assert not any(verified.problems for verified in verify_folder(out))


def test_a_case_that_was_refused_once_gets_its_patches_back(cases: Path, out: Path) -> None:
    prepare(cases, out, PATCHES)
    seg = cases / "Case-0" / "Case-0-seg.nii.gz"
    good = seg.read_bytes()
    seg.write_bytes(b"")
    assert prepare(cases, out)[0].action == "refused"
    seg.write_bytes(good)
    prepare(cases, out)
    patches = read_manifest(out).cases["Case-0"].patches
    assert patches is not None
    assert patches.settings == PATCHES
    assert len(list((out / "patches").glob("Case-0_*"))) == 2


def test_patches_of_a_folder_that_notes_them_in_its_entries_alone_are_as_before(cases: Path, out: Path) -> None:
    prepare(cases, out, PATCHES)
    content = json.loads((out / "manifest.json").read_text())
    del content["patches"]
    (out / "manifest.json").write_text(json.dumps(content))
    (out / "patches" / "Case-0_patch_1.npz").unlink()
    assert actions(prepare(cases, out))["Case-0"] == "prepared 1 of 2 patches missing or damaged"


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_stop_between_any_two_files_leaves_whole_cases_and_is_gone_on_with(
    moment: int, cases: Path, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepare(cases, tmp_path / "whole", PATCHES)
    prepare(cases / "Case-1", out, PATCHES)
    # Case-1 has other intensities now, the same shape, and so files of the same size
    write_case(cases, "Case-1", seed=7)
    prepare(cases, tmp_path / "changed", PATCHES)
    wanted = {case.name: case.arrays() for case in prepared_cases(tmp_path / "changed")}
    old = prepared_cases(out)[0].arrays()[0].copy()

    with monkeypatch.context() as patch:
        _kill_at(moment, patch)
        with pytest.raises(_Killed):
            prepare(cases, out, PATCHES)

    entries = read_manifest(out).cases
    if entries:
        for case in prepared_cases(out):
            volume, labels = case.arrays()
            is_old = case.name == "Case-1" and np.array_equal(volume, old)
            assert is_old or np.array_equal(volume, wanted[case.name][0])
            assert np.array_equal(labels, wanted[case.name][1])
            for file, known in case.entry.outputs.items():
                assert sha256((case.prepared / file).read_bytes()) == known
    prepare(cases, out, PATCHES)
    assert sorted(read_manifest(out).cases) == ["Case-0", "Case-1", "Case-2"]
    contents = {
        folder: {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (out, tmp_path / "changed")
    }
    assert contents[out] == contents[tmp_path / "changed"]


def test_the_moments_of_the_test_above_are_all_there_are(
    cases: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would stop short of the last file and nobody would know."""
    count = 0
    original = whole_files.write_whole

    def write(path: Path, content: bytes) -> None:
        nonlocal count
        count += 1
        original(path, content)

    prepare(cases / "Case-1", out, PATCHES)
    write_case(cases, "Case-1", seed=7)
    for place in (module, patches_module, whole_files):
        monkeypatch.setattr(place, "write_whole", write)
    prepare(cases, out, PATCHES)
    assert count == MOMENTS


def test_patches_of_a_changed_case_are_made_again_without_being_asked_for(cases: Path, out: Path) -> None:
    prepare(cases, out, PATCHES)
    before = state(out / "patches")
    write_case(cases, "Case-2", seed=9)
    assert actions(prepare(cases, out))["Case-2"] == "prepared t1n t1c t2w t2f changed"
    after = state(out / "patches")
    changed = {Path(path).name for path in after if after[path] != before.get(path)}
    assert changed == {"Case-2_patch_0.npz", "Case-2_patch_1.npz"}
    (out / "patches" / "Case-0_patch_1.npz").unlink()
    assert actions(prepare(cases, out))["Case-0"] == "prepared 1 of 2 patches missing or damaged"
    fewer = PatchSettings(count=1, shape=(8, 8, 8))
    prepare(cases, out, fewer)
    assert sorted(path.name for path in (out / "patches").iterdir()) == [f"Case-{n}_patch_0.npz" for n in range(3)]


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(cases: Path, out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds files but no manifest\.json"):
        prepare(cases, out)
    (out / "manifest.json").write_text('{"name": "a web application"}')
    with pytest.raises(CaseError, match="was not written by ssa-fast prepare"):
        prepare(cases, out)
    assert not is_prepared(out)
    assert len(list(out.iterdir())) == 2


def test_files_of_other_programs_that_look_half_written_are_left_alone(cases: Path, out: Path) -> None:
    out.mkdir()
    (out / ".download.partial").write_text("of a browser")
    with pytest.raises(ConfigError, match="holds files"):
        prepare(cases, out)
    assert (out / ".download.partial").exists()


def test_a_run_that_was_killed_before_its_first_manifest_is_begun_again(cases: Path, out: Path) -> None:
    out.mkdir()
    (out / ".manifest.json.77.partial").write_text('{"ki')
    assert len(prepare(cases, out)) == 3
    prepare(cases, out)
    assert not list(out.rglob("*.partial"))


def test_a_second_run_into_a_folder_that_is_being_filled_is_refused_and_takes_nothing(
    cases: Path, out: Path, tmp_path: Path
) -> None:
    for number in range(3, 5):
        write_case(tmp_path / "others", f"Case-{number}", seed=number)
    first = prepare_cases(find_cases([cases]), out, "0.0")
    next(first)
    (out / ".manifest.json.77.partial").write_text("of the first run")
    with pytest.raises(ConfigError, match="another ssa-fast prepare"):
        prepare(tmp_path / "others", out)
    assert (out / ".manifest.json.77.partial").exists()
    list(first)
    prepare(tmp_path / "others", out)
    assert list(read_manifest(out).cases) == [f"Case-{number}" for number in range(5)]


def test_cases_that_were_moved_are_kept_and_found_again(cases: Path, out: Path) -> None:
    prepare(cases, out)
    moved = cases.rename(cases.parent / "archive")
    assert {outcome.action for outcome in prepare(moved, out)} == {"kept"}
    assert prepared_cases(out)[0].one("t1n").parent == (moved / "Case-0").resolve()


def test_a_file_that_was_renamed_is_not_called_changed_and_is_found_again(cases: Path, out: Path) -> None:
    prepare(cases, out)
    for old in (cases / "Case-0").iterdir():
        old.rename(old.with_name(old.name.replace("-t1n.", "_t1.")))
    assert actions(prepare(cases, out))["Case-0"] == "kept"
    assert prepared_cases(out)[0].one("t1n").name == "Case-0_t1.nii.gz"
    read_case(prepared_cases(out)[0])


@pytest.mark.parametrize("name", ["patches", "manifest.json", "problems.json"])
def test_a_case_that_is_called_as_our_own_files_is_refused(name: str, tmp_path: Path) -> None:
    write_case(tmp_path / "cases", name)
    (outcome,) = prepare(tmp_path / "cases", tmp_path / "out")
    assert [problem.remedy for problem in outcome.problems] == ["rename the case"]


@pytest.mark.parametrize("place", [".", "Case-1"])
def test_the_cases_own_folder_is_refused(place: str, cases: Path) -> None:
    before = state(cases)
    with pytest.raises(ConfigError):
        prepare(cases, cases / place)
    assert state(cases) == before


def test_a_folder_prepared_in_another_way_is_prepared_anew(
    cases: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(prepared_module.Manifest, "is_current", True)
        prepare(cases, out)
    content = json.loads((out / "manifest.json").read_text())
    content["preprocessing"] = "as they did it long ago"
    (out / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CaseError, match="was prepared as 'as they did it long ago'"):
        prepared_cases(out)
    assert set(actions(prepare(cases, out)).values()) == {"prepared new"}
    assert len(prepared_cases(out)) == 3


def test_a_prepared_case_does_not_depend_on_other_cases(cases: Path, out: Path, tmp_path: Path) -> None:
    prepare(cases, out, PATCHES)
    prepare(cases / "Case-1", tmp_path / "alone", PATCHES)
    assert read_manifest(tmp_path / "alone").cases["Case-1"] == read_manifest(out).cases["Case-1"]


def test_the_folder_may_move_together_with_its_cases(cases: Path, tmp_path: Path) -> None:
    prepare(cases, tmp_path / "prepared")
    (tmp_path / "elsewhere").mkdir()
    for name in ("cases", "prepared"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    for case in prepared_cases(tmp_path / "elsewhere" / "prepared"):
        assert case.one("t1n").parent == (tmp_path / "elsewhere" / "cases" / case.name).resolve()


def test_a_real_case_is_prepared(real_case: Path, tmp_path: Path) -> None:
    assert prepare(real_case, tmp_path / "out")[0].action == "prepared"
    volume, labels = prepared_cases(tmp_path / "out")[0].arrays()
    assert volume.shape[1:] == labels.shape
    assert abs(float(volume[0][volume[0] != 0].astype(np.float64).mean())) < 1e-3
