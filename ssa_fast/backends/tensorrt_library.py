"""TensorRT or TensorRT-RTX, loaded, with what it logs at hand: its errors come as log lines beside a bare None."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ssa_fast.backends.tensorrt_errors import explained
from ssa_fast.errors import BackendUnavailable

__all__ = ["Log", "Logged", "load_library", "logged", "version_of"]

_log = logging.getLogger(__name__)


@dataclass
class Log:
    """What the library said since the log was last emptied, verbose lines left out."""

    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # warnings and information

    def clear(self) -> None:
        """Forget what was said."""
        self.errors.clear()
        self.notes.clear()


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A library and its logger: one for a process, for the first that TensorRT is given is the one that it keeps."""

    library: Any  # neither library has type information
    logger: Any
    log: Log

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX."""
        return str(self.library.__name__).endswith("_rtx")

    @property
    def name(self) -> str:
        """Name and version, in words."""
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {version_of(self.library)}"


def load_library(*, is_rtx: bool) -> Logged:
    """TensorRT, or TensorRT-RTX, ready to build.

    Raises BackendUnavailable if it is not installed, or not wholly.
    """
    name, extra = ("tensorrt_rtx", "trt-rtx") if is_rtx else ("tensorrt", "trt")
    try:
        library = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise BackendUnavailable(f"'{name}' is not installed: pip install 'ssa-fast[{extra}]'") from error
        raise explained(name, [str(error)]) from error
    except (ImportError, FileNotFoundError) as error:  # the second: a missing DLL
        raise explained(name, [str(error)]) from error
    return logged(library)


@lru_cache(maxsize=4)
def logged(library: Any) -> Logged:
    """The library with the one logger that this process gives it."""
    log, levels = Log(), library.ILogger.Severity

    def initialize(self: Any) -> None:
        library.ILogger.__init__(self)

    def note(_self: Any, severity: Any, message: str) -> None:
        if severity in (levels.INTERNAL_ERROR, levels.ERROR):
            log.errors.append(message)
            _log.info("TensorRT: %s", message)
        elif severity in (levels.WARNING, levels.INFO):
            log.notes.append(message)
            _log.debug("TensorRT: %s", message)

    kind = type("CollectingLogger", (library.ILogger,), {"__init__": initialize, "log": note})
    return Logged(library=library, logger=kind(), log=log)


def version_of(library: Any) -> str:
    """Version of the library, such as 10.16.1.11."""
    return str(library.__version__)
