"""Prepared folders and patches looked through: every kind of damage has its row."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ssa_fast.errors import CaseError
from ssa_fast.files import sha256
from ssa_fast.prepare import verify as module
from ssa_fast.prepare.cases import prepare_cases
from ssa_fast.prepare.prepared import PatchSettings
from ssa_fast.prepare.problems import Problem
from ssa_fast.prepare.verify import verify_folder
from ssa_fast.volume.case import find_cases
from tests.cases import brain_ellipsoid, brain_values, tumor_labels, write_case, write_nifti

SHAPE = (16, 16, 16)
BRAIN = brain_ellipsoid(SHAPE)
TUMOR = tumor_labels(SHAPE) * BRAIN.astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    cases = find_cases([tmp_path / "cases"])
    list(prepare_cases(cases, tmp_path / "prepared", "0.0", PatchSettings(count=2, shape=SHAPE)))
    return tmp_path / "prepared"


def problems_of(folder: Path) -> list[Problem]:
    return [problem for verified in verify_folder(folder) for problem in verified.problems]


def seen(folder: Path) -> list[str]:
    return [f"{problem.case}: {problem.file}: {problem.seen}" for problem in problems_of(folder)]


def test_what_prepare_wrote_is_good(folder: Path) -> None:
    verified = list(verify_folder(folder))
    assert [(case.name, case.volumes, case.patches, case.problems) for case in verified] == [
        ("Case-0", 1, 2, ()),
        ("Case-1", 1, 2, ()),
    ]


@pytest.mark.parametrize("file", ["Case-0/volume.npy", "Case-0/labels.npy", "patches/Case-0_patch_1.npz"])
def test_one_changed_byte_is_found(file: str, folder: Path) -> None:
    content = bytearray((folder / file).read_bytes())
    content[-1] ^= 1
    (folder / file).write_bytes(content)
    (line,) = seen(folder)
    assert line.startswith(f"Case-0: {Path(file).name}: its SHA-256 begins with")


@pytest.mark.parametrize("file", ["Case-1/volume.npy", "patches/Case-1_patch_0.npz"])
def test_a_missing_file_is_found(file: str, folder: Path) -> None:
    (folder / file).unlink()
    (line,) = seen(folder)
    assert line.startswith(f"Case-1: {Path(file).name}: cannot be read")


def test_a_source_that_changed_since_is_found_and_one_that_is_gone_is_no_problem(folder: Path) -> None:
    write_case(folder.parent / "cases", "Case-1", seed=8)
    assert seen(folder) == [
        f"Case-1: Case-1-{kind}.nii.gz: changed after the case was prepared" for kind in ("t1n", "t1c", "t2w", "t2f")
    ]
    shutil.rmtree(folder.parent / "cases")
    assert seen(folder) == []


def test_a_source_that_cannot_be_read_is_one_row_and_the_rest_is_looked_at(folder: Path) -> None:
    source = folder.parent / "cases" / "Case-0" / "Case-0-t1c.nii.gz"
    source.unlink()
    source.mkdir()
    (folder / "Case-1" / "labels.npy").unlink()
    found = seen(folder)
    assert len(found) == 2
    assert found[0].startswith("Case-0: Case-0-t1c.nii.gz: cannot be read (")
    assert str(folder.parent) not in found[0]
    assert found[1].startswith("Case-1: labels.npy: cannot be read")


def test_patches_that_were_asked_for_and_are_not_there_are_missed(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["cases"]["Case-0"]["patches"] = None
    content["cases"]["Case-1"]["patches"]["settings"]["seed"] = 1
    (folder / "manifest.json").write_text(json.dumps(content))
    for path in (folder / "patches").glob("Case-0*"):
        path.unlink()
    assert seen(folder)[:2] == [f"Case-{n}: patches: were asked for and are not all written" for n in range(2)]


def test_a_case_within_the_limits_is_good_though_a_patch_of_it_is_not(tmp_path: Path) -> None:
    """1 % of the tumor may lie outside of the brain, and a modality may be cut off: of a case as a whole."""
    case = write_case(tmp_path / "cases", "Case-0")
    labels = tumor_labels()
    brain = brain_ellipsoid()
    rim = np.argwhere(np.roll(brain, -1, axis=0) & ~brain)
    labels[labels == 1] = 2
    labels[tuple(rim[len(rim) // 2])] = 1  # one of 344, just outside of the brain, and a third of all patches
    write_nifti(case / "Case-0-seg.nii.gz", labels)
    values = brain_values(seed=5).astype(np.float32)
    values[:8] = 0
    write_nifti(case / "Case-0-t2w.nii.gz", values)
    cases = find_cases([case])
    (outcome,) = prepare_cases(cases, tmp_path / "out", "0.0", PatchSettings(count=100, shape=(4, 4, 4)))
    assert outcome.action == "prepared"
    assert not problems_of(tmp_path / "out")
    alone = "".join(
        flaw
        for path in (tmp_path / "out" / "patches").iterdir()
        for flaw in module._patch_flaws(path, (4, 4, 4), {}, None)
    )
    assert "lie outside of the brain" in alone
    assert "every voxel of t2w is zero" in alone


def _write_with_hash(folder: Path, file: str, array: npt.NDArray[np.generic]) -> None:
    """As if a program with a mistake had written it: the fingerprint is right and the content is not."""
    np.save(folder / "Case-0" / file, array)
    content = json.loads((folder / "manifest.json").read_text())
    content["cases"]["Case-0"]["outputs"][file] = sha256((folder / "Case-0" / file).read_bytes())
    (folder / "manifest.json").write_text(json.dumps(content))


def test_values_are_checked_and_not_the_fingerprint_alone(folder: Path) -> None:
    volume = np.load(folder / "Case-0" / "volume.npy")
    volume[1] *= 100
    volume[2] += volume[2] != 0
    volume[3] = volume[0]
    _write_with_hash(folder, "volume.npy", volume)
    found = seen(folder)
    assert len(found) == 4
    assert "t1c reaches" in found[0]
    assert "t1c has mean" in found[1]
    assert "t2w has mean 1.000 and deviation 1.000" in found[2]
    assert "t2f of case Case-0 has the same voxels as t1n of case Case-0" in found[3]


def test_labels_are_checked(folder: Path) -> None:
    labels = np.load(folder / "Case-0" / "labels.npy")
    labels[labels == 2] = 4
    labels[0, 0, :3] = 1
    _write_with_hash(folder, "labels.npy", labels)
    assert [line.removeprefix("Case-0: labels.npy: ") for line in seen(folder)] == [
        "holds label 4, wanted 0 to 3",
        "the manifest counts other labels",
    ]


def test_one_image_under_two_names_is_found(folder: Path) -> None:
    """prepare refuses equal files; equal voxels in unlike files are seen here."""
    volume, other = (np.load(folder / f"Case-{number}" / "volume.npy") for number in range(2))
    volume[0] = other[0]
    _write_with_hash(folder, "volume.npy", volume)
    assert seen(folder) == ["Case-1: volume.npy: t1n of case Case-1 has the same voxels as t1n of case Case-0"]


def test_what_the_manifest_does_not_know_is_named(folder: Path) -> None:
    shutil.copytree(folder / "Case-0", folder / "Ghost")
    shutil.copy(folder / "patches" / "Case-0_patch_0.npz", folder / "patches" / "Old_patch_0.npz")
    (folder / "notes.txt").write_text("mine")
    assert seen(folder) == [
        "Ghost: : lies there but is not in the manifest",
        "Old: Old_patch_0.npz: lies there but is not in the manifest",
    ]


def _patch(seed: int = 0) -> dict[str, npt.NDArray[np.generic]]:
    values = np.random.default_rng(seed).normal(0, 1, (4, *SHAPE)).astype(np.float32)
    return {"image": np.where(BRAIN, values, np.float32(0)), "label": TUMOR}


@pytest.fixture
def patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "PatchSettings", lambda: PatchSettings(shape=SHAPE))
    folder = tmp_path / "patches"
    folder.mkdir()
    for number in range(3):
        np.savez(folder / f"Case-0_patch_{number}.npz", **_patch(number))
    return folder


def test_patches_of_another_program_are_good_without_a_manifest(patches: Path) -> None:
    ((name, count, problems),) = [(case.name, case.patches, case.problems) for case in verify_folder(patches)]
    assert (name, count, problems) == ("Case-0", 3, ())


def _npy(array: npt.NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _set(**changes: object) -> Callable[[Path], object]:
    return lambda path: np.savez(path, **{**_patch(9), **changes})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_set(image=np.zeros((4, *SHAPE), np.float32)), "holds no brain"),
        (_set(image=_patch()["image"].astype(np.float64)), "image is float64 of (4, 16, 16, 16), wanted float32"),
        (_set(image=_patch()["image"][:3]), "image is float32 of (3, 16, 16, 16)"),
        (_set(label=TUMOR.astype(np.int64)), "label is int64 of (16, 16, 16), wanted uint8"),
        (_set(label=np.where(TUMOR == 3, 4, TUMOR).astype(np.uint8)), "holds label 4, wanted 0 to 3"),
        (_set(label=(~BRAIN).astype(np.uint8)), "labelled voxels lie outside of the brain"),
        (_set(image=_patch()["image"] * np.float32(1000)), "wanted a z-score of at most 60"),
        (_set(image=_patch()["image"] * np.float32(np.nan)), "holds NaN or infinity"),
        (_set(image=_patch()["image"] * np.array([1, 1, 0, 1], np.float32)[:, None, None, None]), "every voxel of t2w"),
        (_set(**_patch(0)), "has the same voxels as Case-0_patch_0.npz"),
        (_set(mask=TUMOR), "holds image, label, mask, wanted image and label"),
        (_set(image=np.array([{}], dtype=object)), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(_npy(TUMOR)), "cannot be read (one array without a name, no npz)"),
    ],
)
def test_each_damage_of_a_patch_has_a_row(spoil: Callable[[Path], object], words: str, patches: Path) -> None:
    spoil(patches / "Case-0_patch_1.npz")
    found = [line for line in seen(patches) if words in line]
    assert len(found) >= 1, seen(patches)
    assert all("patch_1" in line for line in found)
    assert all(problem.remedy for problem in problems_of(patches))


def test_a_folder_of_neither_kind_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CaseError, match="neither a prepared folder nor one of"):
            list(verify_folder(place))
