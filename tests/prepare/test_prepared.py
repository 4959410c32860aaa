"""Prepared folders as training reads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ssa_fast.errors import CaseError, ConfigError
from ssa_fast.prepare.cases import prepare_cases
from ssa_fast.prepare.prepared import (
    Manifest,
    PatchSettings,
    PreparedCase,
    find_training_cases,
    is_prepared,
    prepared_cases,
    read_manifest,
    write_manifest,
)
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.dataset import draw_patch, load_training_case
from ssa_fast.volume.case import find_cases, read_case
from tests.cases import write_case


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two prepared cases; their sources are in ../cases."""
    for number in range(2):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    list(prepare_cases(find_cases([tmp_path / "cases"]), tmp_path / "prepared", "0.0"))
    return tmp_path / "prepared"


def test_training_draws_the_same_patches_from_a_prepared_folder_as_from_the_cases(folder: Path) -> None:
    plain = [load_training_case(files) for files in find_cases([folder.parent / "cases"])]
    mapped = [load_training_case(files) for files in prepared_cases(folder)]
    for one, other in zip(plain, mapped, strict=True):
        assert one.name == other.name
        assert torch.equal(one.array, other.array)
        assert torch.equal(one.labels, other.labels)
        assert one.voxels.keys() == other.voxels.keys()
    config = TrainConfig(patch=(16, 16, 16))
    for seed in range(20):
        first = draw_patch(plain, config, np.random.default_rng(seed))
        second = draw_patch(mapped, config, np.random.default_rng(seed))
        assert torch.equal(first.array, second.array)
        assert torch.equal(first.labels, second.labels)


def test_writing_to_a_mapped_case_changes_no_file(folder: Path) -> None:
    before = (folder / "Case-0" / "volume.npy").read_bytes()
    case = load_training_case(prepared_cases(folder)[0])
    case.array.fill_(7)
    assert (folder / "Case-0" / "volume.npy").read_bytes() == before


def test_a_prepared_folder_stands_for_its_cases_beside_others(folder: Path) -> None:
    write_case(folder.parent / "more", "A-case", seed=5)
    found = find_training_cases([folder, folder.parent / "more"])
    assert [files.name for files in found] == ["A-case", "Case-0", "Case-1"]
    assert [isinstance(files, PreparedCase) for files in found] == [False, True, True]
    assert read_case(found[1]).name == "Case-0"  # its source, for validation
    with pytest.raises(CaseError, match="two cases are called Case-0"):
        find_training_cases([folder.parent / "cases", folder])


def test_without_its_source_a_prepared_case_can_be_trained_on_and_not_validated_on(folder: Path) -> None:
    shutil.rmtree(folder.parent / "cases")
    case = prepared_cases(folder)[0]
    assert load_training_case(case).name == "Case-0"
    with pytest.raises(CaseError, match=r"^case Case-0: was prepared from .*Case-0-t1n\.nii\.gz, which is not there"):
        read_case(case)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _other_shape(path: Path) -> None:
    np.save(path, np.zeros((2, 2), dtype=np.float16))


def _pickle(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("spoil", [Path.unlink, _cut, _other_shape, _pickle, lambda path: path.write_bytes(b"")])
def test_a_damaged_prepared_file_is_named_with_what_to_do(spoil: Callable[[Path], object], folder: Path) -> None:
    spoil(folder / "Case-1" / "volume.npy")
    with pytest.raises(CaseError, match=r"volume\.npy: .*: run ssa-fast prepare again"):
        load_training_case(prepared_cases(folder)[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "other"}, "was not written by ssa-fast prepare"),
        ({"format": 99}, "is of format 99, this version reads 1"),
        ({"cases": {"Case-0": {"source": "x"}}}, "missing"),
        ({"cases": "none"}, "'cases' must be a table"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(change: dict[str, object], words: str, folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(CaseError, match=words):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("key", "file", "words"),
    [
        ("inputs", "seg", r"Case-0: 'inputs' are t1c t1n t2f t2w, wanted seg t1c t1n t2f t2w: remove the folder"),
        ("outputs", "volume.npy", r"Case-0: 'outputs' are labels\.npy, wanted labels\.npy volume\.npy: remove"),
    ],
)
def test_an_entry_without_one_of_its_files_is_refused(key: str, file: str, words: str, folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    del content["cases"]["Case-0"][key][file]
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CaseError, match=words):
        read_manifest(folder)


def test_a_manifest_that_leads_out_of_its_folder_is_refused(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["cases"]["../elsewhere"] = content["cases"]["Case-0"]
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CaseError, match=r"'\.\./elsewhere', which is no folder's name"):
        read_manifest(folder)


def test_a_manifest_is_read_as_it_was_written(folder: Path) -> None:
    manifest = read_manifest(folder)
    write_manifest(folder, manifest)
    assert read_manifest(folder) == manifest


def test_an_empty_prepared_folder_is_no_folder_to_train_on(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest())
    assert is_prepared(tmp_path)
    with pytest.raises(CaseError, match="holds no prepared case"):
        find_training_cases([tmp_path])


@pytest.mark.parametrize("name", ["", "scan.txt", "brain.nii.gz"])
def test_a_folder_without_cases_is_told_what_training_takes(name: str, tmp_path: Path) -> None:
    if name:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CaseError) as refused:
        find_training_cases([tmp_path])
    assert str(refused.value) == (
        f"{tmp_path}: no case found: wanted files like CASE-t1n.nii.gz, -t1c, -t2w, -t2f and -seg, or a folder that "
        "'ssa-fast prepare' wrote"
    )
    with pytest.raises(CaseError, match=r"gone: no such file or folder: check the path"):
        find_training_cases([tmp_path / "gone"])


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"name": "x"}', b"\xff"])
def test_another_manifest_makes_no_prepared_folder(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    assert not is_prepared(tmp_path)
    with pytest.raises(CaseError):
        read_manifest(tmp_path)


def test_patches_need_sensible_settings() -> None:
    with pytest.raises(ConfigError, match="count of 1 or more"):
        PatchSettings(count=0)
