"""Many cases, one after the other: each written as soon as it is done, a bad one named and passed by."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssa_fast.config import to_mapping
from ssa_fast.errors import CaseError, SsaFastError
from ssa_fast.files import write_json
from ssa_fast.infer.plan import Plan
from ssa_fast.infer.segmenter import Segmentation, Segmenter
from ssa_fast.measure import Stages, machine_line
from ssa_fast.volume.case import CaseFiles, read_case
from ssa_fast.volume.nifti import write_labels

__all__ = ["Outcome", "segment_cohort"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one case: a file and a segmentation, or an error."""

    name: str
    seconds: dict[str, float]  # a stage; reading and writing too
    path: Path | None = None
    segmentation: Segmentation | None = None
    error: SsaFastError | None = None
    is_stale: bool = False  # the case failed, and a result of an earlier run is still in its place


def segment_cohort(
    segmenter: Segmenter,
    cases: Sequence[CaseFiles],
    out: Path,
    facts: Mapping[str, object],
    on_plan: Callable[[str, Plan], None] | None = None,
) -> Iterator[Outcome]:
    """Segment each case into `out/CASE.nii.gz`, with `out/CASE.json` beside it that says how.

    Both files appear whole or not at all, and replace those of an earlier run, which stay where a case fails. `facts`
    go into each record, such as the bundle's fingerprint and what was asked for; `on_plan` hears each case's name and
    plan before its network runs. An error of ssa-fast ends only its own case; it comes back in the outcome.
    """
    for files in cases:
        stages = Stages()
        path = out / f"{files.name}.nii.gz"
        is_own = path.resolve() in {file.resolve() for paths in files.found.values() for file in paths}
        try:
            if is_own:
                raise CaseError(f"case {files.name}: {path} is one of its own files: choose another --out")
            _log.info("%s: reading %s", files.name, files.folder)
            with stages.measure("read"):
                case = read_case(files)
            segmentation = segmenter.segment(case, functools.partial(on_plan, files.name) if on_plan else None)
            stages.seconds.update(segmentation.seconds)
            with stages.measure("write"):
                write_labels(path, segmentation.labels, like=case.grid)
            _log.info("%s: wrote %s", files.name, path)
            write_json(out / f"{files.name}.json", _record(segmentation, stages, facts))
        except SsaFastError as error:
            yield Outcome(name=files.name, seconds=stages.seconds, error=error, is_stale=path.exists() and not is_own)
            continue
        yield Outcome(name=files.name, seconds=stages.seconds, path=path, segmentation=segmentation)


def _record(segmentation: Segmentation, stages: Stages, facts: Mapping[str, object]) -> dict[str, object]:
    return {
        "case": segmentation.name,
        "volumes_ml": segmentation.volumes_ml,
        "plan": to_mapping(segmentation.plan),
        "seconds": {stage: round(seconds, 4) for stage, seconds in stages.seconds.items()},
        "machine": machine_line(str(segmentation.device)),
        **facts,
    }
