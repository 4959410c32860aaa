"""A contestant: a process of its own that has one network open and waits for cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

from benchmarks.child import Child
from ssa_fast import hardware
from ssa_fast.backends import Choice

__all__ = ["Answer", "Contestant", "Kind", "missing_peers"]

Kind: TypeAlias = Literal["nnunet", "monai", "ours"]

_LIBRARIES = {"nnunet": "nnunetv2", "monai": "monai"}


def missing_peers() -> list[str]:
    """The peers' libraries that are not installed."""
    return [library for library in _LIBRARIES.values() if util.find_spec(library) is None]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One case, file to file."""

    seconds: float
    path: Path
    peak_bytes: int  # of the process until then


@dataclass(kw_only=True)
class Contestant:
    """Use it in a `with`: its process begins there, and ends there.

    Waiting costs no processor time: it sleeps in a read. The peers' thread counts are ours, and each library keeps its
    own way of waiting for threads.
    """

    kind: Kind
    bundle: Path
    window: tuple[int, int, int] | None  # None: one pass, which only ours can
    log: Path
    precision: Choice = "float32"
    threads: int = field(default_factory=lambda: hardware.cpu().threads)
    seconds_to_open: float = 0.0  # from the start of its process until its network is open
    _child: Child = field(init=False, repr=False)

    def __enter__(self) -> Contestant:
        job = {
            "kind": self.kind,
            "bundle": str(self.bundle),
            "window": self.window,
            "precision": self.precision,
            "threads": self.threads,
        }
        self._child = Child(self.kind, self.log)
        self._child.start("benchmarks.peers.worker", job, self.threads, {"nnUNet_def_n_proc": str(self.threads)})
        self.seconds_to_open = self._child.seconds_to_start
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close()

    def segment(self, case: Path, out: Path) -> Answer:
        """Segment the case in a folder. Raises RuntimeError, with the last that it said, if the process has ended."""
        answer = self._child.ask({"case": str(case), "out": str(out)})
        return Answer(seconds=answer["seconds"], path=Path(answer["path"]), peak_bytes=answer["peak_bytes"])
