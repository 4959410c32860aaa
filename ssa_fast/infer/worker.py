"""A process that keeps a network open and is handed one case after the other, beside others on the same machine.

Nothing here knows who hands out the cases: `on_ray` does it over a cluster.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ssa_fast
from ssa_fast.errors import ConfigError, SsaFastError
from ssa_fast.infer.cohort import CohortRun, Outcome, segment_cohort
from ssa_fast.infer.plan import Plan
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.measure import peak_memory_bytes
from ssa_fast.volume.case import CaseFiles

__all__ = ["Answer", "Opener", "Place", "Ready", "Work", "Worker"]

_OURS = logging.getLogger("ssa_fast")

Opener = Callable[[int], tuple[Segmenter, Mapping[str, object]]]
"""From the bytes that a worker may take to its segmenter, and what a record says of it. It crosses to the worker."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every worker of a run does."""

    open: Opener
    run: CohortRun  # with absolute paths, and no file of results: who hands out the cases settles the records
    folders: tuple[Path, ...]  # that cases lie in
    mark: Path  # a file in the run's folder
    token: str  # what stands in it
    log_level: int  # of what a worker says and is told again where the cases are handed out


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker is, and its share of the machine there."""

    machine: str  # in words
    node: str  # the cluster's name for it
    workers: int = 1  # of this run, on that machine
    threads: int
    first_core: int = 0  # of the machine's, that is this worker's
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker that has its network open."""

    network: str
    device: str
    fingerprint: str  # of the bundles and engines
    chosen: str  # which backend was chosen and why, where that was left open
    version: str  # of ssa-fast

    def check_like(self, first: Ready, machine: str) -> None:
        """Raises ConfigError, naming its machine, if the network or ssa-fast is another than the first worker's."""
        if self.version != first.version:
            raise ConfigError(
                f"machine {machine} has ssa-fast {self.version}, another one {first.version}: install one version"
            )
        if self.fingerprint != first.fingerprint:
            raise ConfigError(
                f"machine {machine} has another network '{self.network}': let --bundle be one file that all see"
            )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one case, small enough to be sent: without its labels."""

    outcome: Outcome | None = None  # None: the run cannot go on
    plan: Plan | None = None  # None where the network did not run
    said: tuple[tuple[str, int, str], ...] = ()  # logger, level, message
    peak_bytes: int = 0  # of the worker's memory so far
    failure: OSError | None = None  # why the run cannot go on


class Worker:
    """A worker in a process of its own: `open` comes first, and once."""

    def __init__(self, work: Work, place: Place) -> None:
        self._work = work
        self._place = place
        self._segmenter: Segmenter | None = None
        self._run = work.run

    def open(self) -> Ready | SsaFastError:
        """Open the network on this worker's own share of the cores, once it sees the folders of the run.

        The share is what keeps workers of a machine apart; where the system has no such thing (macOS, Windows) every
        engine takes all cores. An error is returned, for Ray would wrap it in a page of its own.
        """
        try:
            _check_folders(self._work)
            _keep_to_own_cores(self._place)
            segmenter, facts = self._work.open(self._place.memory_bytes)
            _check_device(segmenter, self._place)
        except SsaFastError as error:
            return error
        self._segmenter = segmenter
        self._run = dataclasses.replace(self._work.run, facts=facts)
        return Ready(
            network=segmenter.backend.spec.name,
            device=str(segmenter.backend.device),
            fingerprint=f"{facts.get('bundle_sha256')} {facts.get('engine_sha256')}",  # of several: lists
            chosen=str(facts.get("backend_chosen", "")),
            version=ssa_fast.__version__,
        )

    def segment(self, files: CaseFiles) -> Answer:
        """Segment one case and write its label map."""
        assert self._segmenter is not None, "opened first"
        plans: list[Plan] = []
        said: list[tuple[str, int, str]] = []
        try:
            with _noted(said, self._work.log_level):
                [outcome] = segment_cohort(self._segmenter, [files], self._run, lambda _, plan: plans.append(plan))
        except OSError as error:
            return Answer(failure=error)
        return Answer(
            outcome=dataclasses.replace(outcome, segmentation=None),
            plan=plans[0] if plans else None,
            said=tuple(said),
            peak_bytes=peak_memory_bytes(),
        )


def _check_folders(work: Work) -> None:
    """Raises ConfigError unless this machine sees the very folders that the cluster's user sees."""
    try:
        is_seen = work.mark.read_text(encoding="ascii") == work.token
    except OSError:
        is_seen = False
    missing = [folder for folder in work.folders if not folder.is_dir()]
    if not is_seen:
        missing.insert(0, work.run.out)
    if missing:
        raise ConfigError(
            f"{missing[0]} is not there, or is another folder of that name: keep cases and --out on storage that all "
            "machines of the cluster see under the same path"
        )


def _keep_to_own_cores(place: Place) -> None:
    """Bind this thread, and those that it will start, to the worker's share of the machine's cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[(place.first_core + step) % len(cores)] for step in range(place.threads)})


def _check_device(segmenter: Segmenter, place: Place) -> None:
    """Raises ConfigError where workers would share a GPU: each would plan with all of its memory."""
    if place.workers > 1 and not segmenter.backend.footprint.is_host:
        raise ConfigError(
            f"{place.workers} workers would share {segmenter.backend.device}: one is wanted, so let --ray-threads be "
            "as many as that machine has"
        )


class _Noted(logging.Handler):
    def __init__(self, said: list[tuple[str, int, str]]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append((record.name, record.levelno, record.getMessage()))


@contextmanager
def _noted(said: list[tuple[str, int, str]], level: int) -> Iterator[None]:
    """What ssa-fast logs is kept in `said`, and nowhere else: a worker's own output is seen by nobody."""
    handler, before = _Noted(said), _OURS.level
    _OURS.addHandler(handler)
    _OURS.setLevel(level)
    _OURS.propagate = False
    try:
        yield
    finally:
        _OURS.propagate = True
        _OURS.setLevel(before)
        _OURS.removeHandler(handler)
