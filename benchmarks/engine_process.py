"""A network in a process of its own: its memory is nobody else's, and its peak the kernel's high-water mark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ssa_fast import hardware
from ssa_fast.backends import Choice
from ssa_fast.backends.base import Gives
from ssa_fast.config import to_mapping
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["Answer", "EngineProcess", "Setup"]

_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a network is opened and given a volume."""

    bundle: str  # a path
    backend: str
    precision: Choice = "float32"
    windows: str = ""  # path of an array (1, C, X, Y, Z)
    gives: Gives = "labels"  # what the engine hands over; labels of logits are made of them behind it
    window: tuple[int, int, int] | None = None  # None: one pass
    overlap: float = 0.5
    batch: int = 1  # windows a call
    threads: int = 0  # processors that it may use; 0: all
    is_contiguous: bool = False  # of torch: not channels-last


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One thing that the process did."""

    seconds: float
    peak_bytes: int  # of the process until then
    gpu_peak_bytes: int | None = None


class EngineProcess:
    """Use it in a `with`: the process begins there, and ends there. While it waits it sleeps in a read."""

    def __init__(self, setup: Setup, windows: FloatArray, folder: Path) -> None:
        """`folder` is for arrays that are handed over, and for what the process says."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "windows.npy"
        np.save(path, windows)
        self._setup = {**to_mapping(setup), "windows": str(path)}
        self._threads = setup.threads or hardware.cpu().threads
        self._process: subprocess.Popen[str] | None = None
        self.device = ""  # in words
        self.seconds_to_open = 0.0  # of the network; libraries are loaded in it
        self.seconds_to_start = 0.0  # from the start of the process until the network is open

    def __enter__(self) -> EngineProcess:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        start = time.perf_counter()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.engine_worker", json.dumps(self._setup)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                env=environment | {"OMP_NUM_THREADS": str(self._threads)},
                cwd=_ROOT,
            )
        try:
            opened = self._heard()
        except RuntimeError:
            self._close()
            raise
        self.seconds_to_start = time.perf_counter() - start
        self.device, self.seconds_to_open = opened["device"], opened["seconds"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def run(self) -> Answer:
        """One run. Raises RuntimeError, with the last that it said, if the process has ended."""
        told = self._asked({"do": "run"})
        return Answer(seconds=told["seconds"], peak_bytes=told["peak_bytes"], gpu_peak_bytes=told["gpu_peak_bytes"])

    def labels(self) -> LabelArray:
        """What the last run gave (X, Y, Z)."""
        path = self._folder / "labels.npy"
        self._asked({"do": "save", "path": str(path)})
        labels: LabelArray = np.load(path)
        return labels

    @property
    def _log(self) -> Path:
        return self._folder / "said.log"

    def _asked(self, question: dict[str, str]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"{self._setup['backend']} ended: {''.join(last)} (all it said: {self._log})")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
