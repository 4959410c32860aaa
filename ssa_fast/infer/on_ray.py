"""Many cases over the machines of a Ray cluster: workers pull one case at a time; what a lost one held is done again.

Ray is imported here and in `ray_cluster`, and these two only where it is asked for.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ssa_fast.errors import BackendError, BackendUnavailable, SsaFastError
from ssa_fast.files import remove_partials
from ssa_fast.infer.cohort import LEAST_AGE_S, CohortRun, Outcome
from ssa_fast.infer.plan import Plan
from ssa_fast.infer.record import RESULTS, map_path, record_path, result_path, settle
from ssa_fast.infer.worker import Answer, Opener, Place, Ready, Work, Worker
from ssa_fast.labels import MAP_WORDS
from ssa_fast.volume.case import CaseFiles

__all__ = ["Crew"]

_TRIES = 3  # of a case, or of a worker that dies before it is ready
_PATIENCE_SECONDS = 30  # until it is said that nobody has anything to tell
_LOST = (  # a worker and what it held, not the run
    exceptions.RayActorError,
    exceptions.ActorUnschedulableError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.OutOfMemoryError,
    exceptions.WorkerCrashedError,
)
_log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class _Hand:
    """A worker as it is seen from here."""

    actor: Any
    place: Place
    is_ready: bool = False


class Crew:
    """The workers of one run, and what each is doing."""

    def __init__(self, open_network: Opener, run: CohortRun, places: Sequence[Place]) -> None:
        """`open_network` runs in each worker, so it must be known there by its name.

        `run` says where results go: label maps are written by the workers, records and lines of results from here.
        """
        self.peak_bytes = 0  # of the worker that took the most
        self.ready: Counter[str] = Counter()  # workers that have opened their network, by its device
        self._open = open_network
        self._run = run
        self._places = places
        self._work: Work
        self._waiting: deque[CaseFiles] = deque()
        self._doing: dict[Any, tuple[_Hand, CaseFiles | None]] = {}  # a promise of Ray's -> whose; None: it opens
        self._idle: list[_Hand] = []
        self._unsettled: dict[str, CaseFiles] = {}  # handed out, by name, also where a signal left its worker untold
        self._tries: Counter[str] = Counter()  # workers lost, by the case that they held
        self._deaths: Counter[Place] = Counter()  # workers lost before they were ready
        self._first: Ready | None = None

    def segment(
        self,
        cases: Sequence[CaseFiles],
        on_ready: Callable[[Ready, Place], None] | None = None,
        on_plan: Callable[[str, Plan], None] | None = None,
    ) -> Generator[Outcome, None, None]:
        """Segment each case as `segment_cohort` does, outcomes in the order in which they end, without labels.

        `on_ready` hears of each worker, `on_plan` of each case's plan just before its outcome. A case whose worker is
        lost is done again by another; at the third loss it fails. Close the iterator: that ends the workers.

        Raises what a worker's opening raises, with its machine; OSError if a result cannot be written; BackendError if
        no worker is left or the cluster breaks down.
        """
        out = self._run.out.absolute()
        self._waiting.extend(_absolute(files) for files in cases)
        remove_partials(out, least_age_s=LEAST_AGE_S)
        with _marked(out) as (mark, token):
            self._work = Work(
                open=self._open,
                run=dataclasses.replace(self._run, out=out, results=None, reads_ahead=False),
                folders=tuple(sorted({files.folder.parent for files in self._waiting})),
                mark=mark,
                token=token,
                log_level=_log.getEffectiveLevel(),
            )
            try:
                for place in self._places[: len(cases)]:
                    self._hire(place)
                while self._waiting or any(files is not None for _, files in self._doing.values()):
                    yield from self._next(on_ready, on_plan)
            except exceptions.RayTaskError:  # a fault of ours, with its trace
                raise
            except exceptions.RayError as error:
                raise BackendError(f"the Ray cluster failed: {_first_line(error)}: mend it and --resume") from error
            finally:
                self._dismiss()

    def sweep(self) -> None:
        """Remove what workers had half written when they were stopped: once they are gone for certain."""
        for files in self._unsettled.values():
            self._sweep(files)

    def _next(
        self, on_ready: Callable[[Ready, Place], None] | None, on_plan: Callable[[str, Plan], None] | None
    ) -> Iterator[Outcome]:
        """Wait for one worker to tell something, and go by it."""
        if not self._doing:
            raise BackendError(f"no worker is left, and {len(self._waiting)} cases are to be done: --resume goes on")
        told, _ = ray.wait(list(self._doing), num_returns=1, timeout=_PATIENCE_SECONDS)
        if not told:
            if not self.ready:
                _log.warning("no worker has begun yet: is the cluster busy? 'ray status' tells")
            return
        hand, files = self._doing.pop(told[0])
        try:
            answer = ray.get(told[0])
        except _LOST as error:
            yield from self._lose(hand, files, error)
            return
        if files is None:
            self._take_in(hand, answer)
            if on_ready is not None:
                on_ready(answer, hand.place)
        else:
            self._unsettled.pop(files.name, None)
            yield self._settled(files, answer, on_plan)
        self._hand_out(hand)

    def _hire(self, place: Place) -> None:
        actor = (
            ray.remote(Worker)
            .options(
                num_cpus=place.threads,
                memory=place.memory_bytes,
                max_restarts=0,  # who is lost is replaced from here, where losses are counted
                scheduling_strategy=NodeAffinitySchedulingStrategy(place.node, soft=False),
            )
            .remote(self._work, place)
        )
        self._doing[actor.open.remote()] = (_Hand(actor, place), None)

    def _hand_out(self, hand: _Hand) -> None:
        if not self._waiting:
            self._idle.append(hand)
            return
        files = self._waiting.popleft()
        self._unsettled[files.name] = files
        self._doing[hand.actor.segment.remote(files)] = (hand, files)

    def _take_in(self, hand: _Hand, told: Ready | SsaFastError) -> None:
        """Raises the error with which a worker did not open; ConfigError if its network or version is another."""
        machine = hand.place.machine
        if isinstance(told, SsaFastError):
            raise type(told)(f"machine {machine}: {told}") from told
        self._first = self._first or told
        told.check_like(self._first, machine)
        self._deaths[hand.place] = 0
        self.ready[told.device] += 1

    def _settled(self, files: CaseFiles, answer: Answer, on_plan: Callable[[str, Plan], None] | None) -> Outcome:
        for name, level, message in answer.said:
            logging.getLogger(name).log(level, "%s", message)
        if answer.failure is not None:
            raise answer.failure
        outcome = answer.outcome
        assert outcome is not None
        assert outcome.name == files.name
        self.peak_bytes = max(self.peak_bytes, answer.peak_bytes)
        if on_plan is not None and answer.plan is not None:
            on_plan(outcome.name, answer.plan)
        if outcome.record is not None:
            settle(self._run.out, self._run.results or RESULTS, outcome.record, outcome.fingerprint)
        return outcome

    def _lose(self, hand: _Hand, files: CaseFiles | None, error: Exception) -> Iterator[Outcome]:
        """Go on without a worker: with another in its place, while there is something to do for it."""
        machine = hand.place.machine
        _end(hand)  # where it is only out of reach
        _log.info("machine %s: %s", machine, error)
        if files is None:
            if getattr(error, "actor_init_failed", False):
                raise BackendUnavailable(
                    f"machine {machine}: a worker cannot start: {_last_line(error)}: install 'ssa-fast[ray]' there"
                ) from error
            self._deaths[hand.place] += 1
            if self._deaths[hand.place] == _TRIES:
                _log.warning("machine %s: %d workers died before they were ready: one fewer", machine, _TRIES)
                return
        else:
            self._sweep(files)
            self._tries[files.name] += 1
            if self._tries[files.name] == _TRIES:
                yield self._given_up(files, machine)
            else:
                _log.warning("case %s: its worker on machine %s died: it is done again", files.name, machine)
                self._waiting.append(files)
                while self._idle and self._waiting:
                    self._hand_out(self._idle.pop())
        if self._waiting:
            self._hire(hand.place)

    def _given_up(self, files: CaseFiles, machine: str) -> Outcome:
        error = BackendError(
            f"case {files.name}: {_TRIES} workers died over it, the last on machine {machine}: if memory was short, "
            "fewer workers have more: see --ray-threads and --max-ram"
        )
        return Outcome(
            name=files.name, seconds={}, error=error, is_stale=result_path(self._run.out, files.name).exists()
        )

    def _sweep(self, files: CaseFiles) -> None:
        """Remove what a worker that was killed had half written."""
        out, name = self._run.out, files.name
        maps = (map_path(out, name, kind) for kind in MAP_WORDS)
        for path in (result_path(out, name), record_path(out, name), *maps):
            remove_partials(path.parent, of=path.name)

    def _dismiss(self) -> None:
        held = list(self._doing.items())
        for hand in [*self._idle, *(hand for _, (hand, _) in held)]:
            _end(hand)
        for promise, (_, files) in held:
            with suppress(exceptions.RayError):  # that it is gone
                ray.get(promise, timeout=_TRIES)
            if files is not None:
                self._sweep(files)
        self._doing.clear()
        self._idle.clear()


def _end(hand: _Hand) -> None:
    with suppress(exceptions.RayError):
        ray.kill(hand.actor)


def _absolute(files: CaseFiles) -> CaseFiles:
    """The same files by paths that hold in another working folder."""
    found = {kind: tuple(path.absolute() for path in paths) for kind, paths in files.found.items()}
    return dataclasses.replace(files, folder=files.folder.absolute(), found=found)


@contextmanager
def _marked(out: Path) -> Iterator[tuple[Path, str]]:
    """A file in `out` and what stands in it, by which a worker knows that it sees this very folder."""
    token = secrets.token_hex(8)
    mark = out / f".{token}.mark"  # no partial file, which another run would remove
    mark.write_text(token, encoding="ascii")
    try:
        yield mark, token
    finally:
        mark.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
