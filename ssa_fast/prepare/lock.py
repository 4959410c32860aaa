"""One writer a folder: a second one is told so and changes nothing."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ssa_fast.errors import ConfigError
from ssa_fast.files import os_errors_of

if sys.platform == "win32":
    import msvcrt
else:
    import errno
    import fcntl

__all__ = ["LOCK_FILE", "folder_lock"]

LOCK_FILE = ".prepare.lock"
_LOCKED_BYTE = 1 << 20  # beyond the text: Windows lets nobody read what is locked
_log = logging.getLogger(__name__)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """`folder`, made if need be, is written by this process alone while inside.

    The lock is the operating system's on a file there, so that it ends with the process, however that ends and on
    whatever host; a file that a killed run left is no lock. The file says who holds it, and is removed at the end.

    Raises ConfigError if another run holds it.
    """
    path = folder / LOCK_FILE
    with os_errors_of(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = _opened(path)
    try:
        yield
    finally:
        if sys.platform == "win32":  # an open file cannot be removed there, nor one that the next run has opened
            file.close()
            with suppress(OSError):
                path.unlink()
        else:
            with suppress(FileNotFoundError):
                path.unlink()
            file.close()


def _opened(path: Path) -> BinaryIO:
    while True:
        file = path.open("a+b")
        try:
            if not _is_locked_by_us(file, path):
                file.seek(0)
                holder = file.read(200).decode(errors="replace").strip() or "of unknown number"
                raise ConfigError(
                    f"{path.parent}: another ssa-fast prepare (process {holder}) is writing there: "
                    "wait until it ends, or choose another --out"
                )
            if _is_still_there(file, path):
                file.truncate(0)
                file.write(f"{os.getpid()} on {socket.gethostname()}\n".encode())
                file.flush()
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # its holder removed it after we had opened it


def _is_locked_by_us(file: BinaryIO, path: Path) -> bool:
    """Lock without waiting; False if another holds it."""
    if sys.platform == "win32":
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}:
            raise
        _log.warning("%s: this file system knows no locks: let no second prepare write there", path.parent)
    return True


def _is_still_there(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
