"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_fast.files import open_whole, read_table, remove_partials, sha256, write_json, write_whole


def _disk_full(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_the_content_is_written_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.bin"
    write_whole(path, b"\x00\r\n\xff")
    assert path.read_bytes() == b"\x00\r\n\xff"
    assert list(path.parent.iterdir()) == [path]


def test_a_new_content_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"a longer old content")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [_disk_full, _interrupted])
def test_a_failed_write_leaves_the_old_file_and_no_partial_one(
    step: str, failure: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", failure)
    else:
        monkeypatch.setattr(Path, "replace", failure)
    with pytest.raises((OSError, KeyboardInterrupt)):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_names_the_file_that_was_to_be_written(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), _disk_full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(path, b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))


def test_a_file_that_may_not_be_written_is_named_and_not_its_partial_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, *_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(PermissionError) as caught:
        write_whole(tmp_path / "a.bin", b"new")
    assert caught.value.filename == str(tmp_path / "a.bin")


def test_the_old_file_is_there_until_the_new_one_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.read_bytes()))
    write_whole(path, b"new")
    assert seen == [b"old"]


def test_a_partial_file_is_hidden_and_lies_in_the_folder_of_the_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "CASE-t1n.nii.gz"
    seen: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.extend(tmp_path.iterdir()))
    write_whole(path, b"new")
    assert [partial.name[0] for partial in seen] == ["."]
    assert not seen[0].name.endswith((".nii", ".nii.gz"))


def test_writing_over_a_folder_fails_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.mkdir()
    with pytest.raises(OSError, match=r"a\.bin"):
        write_whole(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_json_comes_back_as_it_was_and_ends_in_a_line_break(tmp_path: Path) -> None:
    value = {"dice": {"WT": 0.875, "ET": None}, "cases": ["A", "Ä"], "passes": 1}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("}\n")


def test_a_value_that_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"path": tmp_path})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "1\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_sha256_of_abc_is_that_of_the_standard() -> None:
    # FIPS 180-2, appendix B.1
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.binary())
def test_sha256_is_hexadecimal(content: bytes) -> None:
    assert bytes.fromhex(sha256(content)) == hashlib.sha256(content).digest()


def test_what_is_written_bit_by_bit_replaces_the_old_file_at_its_end_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    with open_whole(path) as file:
        file.write(b"ne")
        assert path.read_bytes() == b"old"
        file.write(b"w")
    assert path.read_bytes() == b"new"
    with pytest.raises(OSError, match=r"a\.bin"), open_whole(path):
        _disk_full()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_partials_are_removed_from_an_age_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young, whole = (tmp_path / name for name in (".a.1.partial", ".b.2.partial", "c.json"))
    for path in (old, young, whole):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    remove_partials(tmp_path, least_age_s=60)
    assert set(tmp_path.iterdir()) == {young, whole}
    monkeypatch.setattr(time, "time", lambda: 1e12)  # the file server's clock is what counts, not ours
    remove_partials(tmp_path, least_age_s=60)
    assert set(tmp_path.iterdir()) == {young, whole}
    remove_partials(tmp_path)
    assert set(tmp_path.iterdir()) == {whole}
    remove_partials(tmp_path / "none")


@pytest.mark.parametrize(("content", "table"), [(None, {}), ("{", {}), ("[1]", {}), ('{"a": 1}', {"a": 1})])
def test_a_table_that_is_absent_or_damaged_is_empty(content: str | None, table: dict[str, int], tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "cache.json").write_text(content)
    assert read_table(tmp_path / "cache.json") == table
