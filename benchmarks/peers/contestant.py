"""A contestant: a process of its own that has one network open and waits for cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

from ssa_fast import hardware
from ssa_fast.backends import Choice

__all__ = ["Answer", "Contestant", "Kind", "missing_peers"]

Kind: TypeAlias = Literal["nnunet", "monai", "ours"]

_ROOT = Path(__file__).resolve().parents[2]
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
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def __enter__(self) -> Contestant:
        job = {
            "kind": self.kind,
            "bundle": str(self.bundle),
            "window": self.window,
            "precision": self.precision,
            "threads": self.threads,
        }
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        environment |= {"OMP_NUM_THREADS": str(self.threads), "nnUNet_def_n_proc": str(self.threads)}
        start = time.perf_counter()
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.peers.worker", json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                env=environment,
                cwd=_ROOT,
            )
        try:
            self._heard()
        except RuntimeError:
            self._close()
            raise
        self.seconds_to_open = time.perf_counter() - start
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def segment(self, case: Path, out: Path) -> Answer:
        """Segment the case in a folder. Raises RuntimeError, with the last that it said, if the process has ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"case": str(case), "out": str(out)}) + "\n")
        answer = self._heard()
        return Answer(seconds=answer["seconds"], path=Path(answer["path"]), peak_bytes=answer["peak_bytes"])

    def _heard(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"{self.kind} ended: {''.join(last)} (all it said: {self.log})")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _close(self) -> None:
        """Its input ends, and with it the process, after the case that it is at."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
