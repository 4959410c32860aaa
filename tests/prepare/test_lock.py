"""A folder has one writer, and one that was killed is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.prepare.lock import LOCK_FILE, folder_lock

HOLD = """
import sys
from pathlib import Path
from ssa_fast.prepare.lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_the_first_is_and_comes_in_after_it(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with holder(folder) as process:
        for _ in range(2):
            with pytest.raises(ConfigError, match=f"another ssa-fast prepare .process {process.pid} on .+: wait"):
                folder_lock(folder).__enter__()
        process.communicate()
    with folder_lock(folder):
        assert str(os.getpid()) in (folder / LOCK_FILE).read_text()
    assert not list(folder.iterdir())


def test_a_writer_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.communicate()
    assert (tmp_path / LOCK_FILE).exists()
    with folder_lock(tmp_path):
        pass
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_lock_ends_with_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), folder_lock(tmp_path):
        raise KeyboardInterrupt
    with folder_lock(tmp_path), pytest.raises(ConfigError), folder_lock(tmp_path):
        pass
