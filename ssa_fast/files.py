"""Files that appear whole or not at all, and their fingerprints."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["open_whole", "os_errors_of", "read_table", "remove_partials", "sha256", "write_json", "write_whole"]

_log = logging.getLogger(__name__)


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` so that `path` is either the old file or the whole new one, also after a crash.

    The folder is made if need be. Raises OSError as the operating system does, with `path` as its file.
    """
    with open_whole(path) as file:
        file.write(content)


@contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """As `write_whole`, for what is written bit by bit: the new file takes its place when the `with` block is done."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # same folder: a rename there is atomic
    with os_errors_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                partial.unlink()
            raise


@contextmanager
def os_errors_of(path: Path) -> Iterator[None]:
    """Every OSError from inside names `path`: that of a full disk names no file, others one that nobody asked for."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def remove_partials(folder: Path, of: str = "", least_age_s: float = 0.0) -> None:
    """Remove what a `write_whole` that was killed has left of the file `of`, or of any in the folder.

    Where others may be writing to it, `least_age_s` leaves alone what is younger, by the clock that dates the folder's
    files: that of a file server may be another than this machine's.
    """
    partials = list(folder.glob(f".{glob.escape(of)}*.partial"))
    if not partials:
        return
    with tempfile.TemporaryFile(dir=folder) as new:
        now = os.fstat(new.fileno()).st_mtime
    for partial in partials:
        with suppress(FileNotFoundError):  # whole by now
            if now - partial.stat().st_mtime >= least_age_s:
                partial.unlink()


def read_table(path: Path) -> dict[str, Any]:
    """The JSON object in a file that a program can make again; an empty one where there is none, or it is damaged."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _log.warning("%s: cannot be read (%s): it is made anew", path, error)
        return {}
    return entries if isinstance(entries, dict) else {}


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_whole(path, (json.dumps(value, indent=2) + "\n").encode())


def sha256(content: bytes | memoryview) -> str:
    """Hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()
