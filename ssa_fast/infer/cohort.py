"""Many cases: one read, one segmented, one written at the same time; a bad one named and passed by."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssa_fast.errors import BudgetError, CaseError, SsaFastError
from ssa_fast.files import remove_partials, sha256
from ssa_fast.infer.plan import Plan
from ssa_fast.infer.record import (
    RESULTS,
    input_hashes,
    is_done,
    record_of,
    remove_earlier_maps,
    result_path,
    settle,
)
from ssa_fast.infer.segmentation import Prepared, Segmentation
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.measure import Stages
from ssa_fast.volume.case import CaseFiles, read_case

__all__ = ["LEAST_AGE_S", "SETTINGS", "CohortRun", "Outcome", "segment_cohort", "shard"]

SETTINGS = ("bundle_sha256", "engine_sha256", "device_as_opened", "asked_for")
"""Facts of a record that must be as they would be now for a result to be kept by `--resume`."""

LEAST_AGE_S = 60.0
"""Of a partial file that nobody is writing any more: a whole one takes seconds."""

_MAPS_WRITTEN = 3  # the labels, the file that they make, and its compressed form
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one case: a file and a segmentation, or an error, or nothing to do."""

    name: str
    seconds: dict[str, float]  # a stage; reading and writing too
    path: Path | None = None
    segmentation: Segmentation | None = None  # None for a case that was kept, too
    record: Mapping[str, Any] | None = None  # where there is a new label map: how it was made
    fingerprint: str = ""  # of that label map's file
    error: SsaFastError | None = None
    is_kept: bool = False  # it was done before, and that still holds
    is_stale: bool = False  # the case failed, and a result of an earlier run is still in its place


@dataclass(frozen=True, kw_only=True)
class CohortRun:
    """Where a cohort's results go, and how."""

    out: Path
    facts: Mapping[str, object]  # for each record, such as the bundle's fingerprint and what was asked for
    results: str | None = RESULTS  # gets a line a case; None: whoever takes an outcome settles its record
    is_resumed: bool = False  # keep what is done and still holds
    reads_ahead: bool = True  # a case more in memory, so that the network need not wait, where that costs no windows


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A case read and prepared, or what went wrong, or nothing where its result is kept."""

    files: CaseFiles
    seconds: dict[str, float]
    prepared: Prepared | None = None
    hashes: Mapping[str, str]
    error: SsaFastError | None = None


def segment_cohort(
    segmenter: Segmenter,
    cases: Sequence[CaseFiles],
    run: CohortRun,
    on_plan: Callable[[str, Plan], None] | None = None,
) -> Generator[Outcome, None, None]:
    """Segment each case into `out/CASE.nii.gz`, with `out/CASE.json` beside it that says how, and a line of results.

    Files appear whole or not at all, and replace those of an earlier run, which stay where a case fails. `on_plan`
    hears each case's name and plan before its network runs. An error of ssa-fast ends only its own case; it comes back
    in the outcome. Outcomes come in the order of the cases, each with its files written, one case late where reading
    goes ahead: while a case is being written, the network already works on the next.

    Reading and writing go on in a thread each: at most one case is read ahead, and one is being written. Where a case
    would need smaller windows, or not fit at all, while the next is read, that is read later.
    """
    if run.results is not None:  # else that is the affair of who settles, too: once a run, not once a worker and case
        remove_partials(run.out, least_age_s=LEAST_AGE_S)
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        written: Future[Outcome] | None = None
        ahead = iter(cases)
        following = _submit(reader, next(ahead, None), segmenter, run)
        while following is not None:
            one = following.result()
            files = next(ahead, None)
            is_ahead = run.reads_ahead and files is not None and _has_room(one, segmenter)
            following = _submit(reader, files, segmenter, run) if is_ahead else None
            outcome = _segmented(one, segmenter, on_plan, is_ahead=is_ahead)
            if written is not None:
                yield written.result()
            written = writer.submit(_write, outcome, replace(one, prepared=None), run)
            del one, outcome  # their arrays are let go as soon as they are written
            if following is None:
                yield written.result()
                written = None
                following = _submit(reader, files, segmenter, run)
        if written is not None:
            yield written.result()


def shard(cases: Sequence[CaseFiles], part: int, parts: int) -> list[CaseFiles]:
    """The part-th of `parts` shares of a cohort, from 1: every parts-th case, so shares differ by one case at most."""
    return list(cases[part - 1 :: parts])


def _submit(
    reader: ThreadPoolExecutor, files: CaseFiles | None, segmenter: Segmenter, run: CohortRun
) -> Future[_Read] | None:
    return None if files is None else reader.submit(_read, files, segmenter, run)


def _read(files: CaseFiles, segmenter: Segmenter, run: CohortRun) -> _Read:
    stages = Stages()
    try:
        path = result_path(run.out, files.name)
        if _is_own(path, files):
            raise CaseError(f"case {files.name}: {path} is one of its own files: choose another --out")
        if run.is_resumed:
            reason = is_done(files, run.out, run.facts, SETTINGS)
            if not reason:
                return _Read(files=files, seconds={}, hashes={})
            _log.info("%s: %s", files.name, reason)
        _log.info("%s: reading %s", files.name, files.folder)
        with stages.measure("read"):
            hashes = input_hashes(files)
            case = read_case(files, is_any_spacing=segmenter.resamples)
        return _Read(files=files, seconds=stages.seconds, prepared=segmenter.prepare(case), hashes=hashes)
    except SsaFastError as error:
        return _Read(files=files, seconds=stages.seconds, hashes={}, error=error)
    except MemoryError:
        short = BudgetError(f"case {files.name}: memory ran out while it was read: close other programs")
        return _Read(files=files, seconds=stages.seconds, hashes={}, error=short)


def _has_room(one: _Read, segmenter: Segmenter) -> bool:
    """Whether the next case, most likely of the same size, can be read at any moment without harm to this one."""
    if one.prepared is None:
        return True
    beside = one.prepared.reading_bytes + _written_bytes(one.prepared, segmenter)
    return segmenter.is_as_good_beside(one.prepared, beside)


def _bytes_beside(prepared: Prepared, segmenter: Segmenter) -> int:
    """What other cases hold at the peak: the last while it is written, the next as it was read.

    An engine that asks for its buffers anew has most of them when the next case has long been read; what one keeps is
    there all the while.
    """
    keeps = segmenter.backend.footprint.keeps_buffers
    return _written_bytes(prepared, segmenter) + (prepared.reading_bytes if keeps else prepared.nbytes)


def _written_bytes(prepared: Prepared, segmenter: Segmenter) -> int:
    return _MAPS_WRITTEN * math.prod(prepared.case.grid.array.shape) + segmenter.map_bytes(prepared)


def _is_own(path: Path, files: CaseFiles) -> bool:
    """Whether a path is one of the case's own files."""
    return path.resolve() in {file.resolve() for paths in files.found.values() for file in paths}


def _segmented(
    one: _Read, segmenter: Segmenter, on_plan: Callable[[str, Plan], None] | None, *, is_ahead: bool
) -> Outcome:
    """The outcome of a case that was read, not written yet; `is_ahead`: while the next one is read."""
    name = one.files.name
    if one.error is not None:
        return Outcome(name=name, seconds=one.seconds, error=one.error)
    if one.prepared is None:
        return Outcome(name=name, seconds={}, is_kept=True)
    hear = functools.partial(on_plan, name) if on_plan else None
    other_bytes = _bytes_beside(one.prepared, segmenter) if is_ahead else 0
    try:
        segmentation = segmenter.segment_prepared(one.prepared, hear, other_bytes)
    except SsaFastError as error:
        return Outcome(name=name, seconds=one.seconds, error=error)
    except MemoryError:
        short = BudgetError(f"case {name}: memory ran out: close other programs, or grant less with --max-ram")
        return Outcome(name=name, seconds=one.seconds, error=short)
    return Outcome(name=name, seconds={**one.seconds, **segmentation.seconds}, segmentation=segmentation)


def _write(outcome: Outcome, one: _Read, run: CohortRun) -> Outcome:
    """The outcome with its files written: an error of writing is the operating system's, and ends the run."""
    path = result_path(run.out, outcome.name)
    if outcome.is_kept:
        return Outcome(name=outcome.name, seconds={}, path=path, is_kept=True)
    segmentation = outcome.segmentation
    if segmentation is None:
        is_stale = path.exists() and not _is_own(path, one.files)
        return Outcome(name=outcome.name, seconds=outcome.seconds, error=outcome.error, is_stale=is_stale)
    stages = Stages(dict(outcome.seconds))
    with stages.measure("write"):
        fingerprint = segmentation.save(path)
        maps = segmentation.save_maps(run.out)
        remove_earlier_maps(run.out, outcome.name, maps)
    _log.info("%s: wrote %s", outcome.name, path)
    record = record_of(segmentation, stages.seconds, one.hashes, run.facts)
    record["maps_sha256"] = {kind: sha256(map_path.read_bytes()) for kind, map_path in maps.items()}
    if run.results is not None:
        settle(run.out, run.results, record, fingerprint)
    seconds = stages.seconds
    return dataclasses.replace(outcome, seconds=seconds, path=path, record=record, fingerprint=fingerprint)
