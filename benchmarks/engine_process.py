"""A network in a process of its own: its memory is nobody else's, and its peak the kernel's high-water mark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.child import Child
from ssa_fast import hardware
from ssa_fast.backends import Choice
from ssa_fast.backends.base import Gives
from ssa_fast.config import to_mapping
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["Answer", "EngineProcess", "Setup"]


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
        self._child = Child(setup.backend, folder / "said.log")
        self.device = ""  # in words
        self.seconds_to_open = 0.0  # of the network; libraries are loaded in it
        self.seconds_to_start = 0.0  # from the start of the process until the network is open

    def __enter__(self) -> EngineProcess:
        opened = self._child.start("benchmarks.engine_worker", self._setup, self._threads)
        self.seconds_to_start = self._child.seconds_to_start
        self.device, self.seconds_to_open = opened["device"], opened["seconds"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close()

    def run(self) -> Answer:
        """One run. Raises RuntimeError, with the last that it said, if the process has ended."""
        told = self._child.ask({"do": "run"})
        return Answer(seconds=told["seconds"], peak_bytes=told["peak_bytes"], gpu_peak_bytes=told["gpu_peak_bytes"])

    def labels(self) -> LabelArray:
        """What the last run gave (X, Y, Z)."""
        path = self._folder / "labels.npy"
        self._child.ask({"do": "save", "path": str(path)})
        labels: LabelArray = np.load(path)
        return labels
