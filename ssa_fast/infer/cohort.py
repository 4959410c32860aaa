"""Many cases, one after the other: each written as soon as it is done, a bad one named and passed by."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one case: a file and a segmentation, or an error."""

    name: str
    seconds: dict[str, float]  # a stage; reading and writing too
    path: Path | None = None
    segmentation: Segmentation | None = None
    error: SsaFastError | None = None


def segment_cohort(
    segmenter: Segmenter,
    cases: Sequence[CaseFiles],
    out: Path,
    bundle: str,
    on_plan: Callable[[str, Plan], None] | None = None,
) -> Iterator[Outcome]:
    """Segment each case into `out/CASE.nii.gz`, with `out/CASE.json` beside it that says how.

    Both files appear whole or not at all, and replace those of an earlier run. `bundle` is the fingerprint of the
    segmenter's bundle, for the record; `on_plan` hears each case's name and plan before its network runs. An
    error of ssa-fast ends only its own case; it comes back in the outcome.
    """
    for files in cases:
        stages = Stages()
        path = out / f"{files.name}.nii.gz"
        try:
            _refuse_to_overwrite(files, path)
            with stages.measure("read"):
                case = read_case(files)
            segmentation = segmenter.segment(case, functools.partial(on_plan, files.name) if on_plan else None)
            stages.seconds.update(segmentation.seconds)
            with stages.measure("write"):
                write_labels(path, segmentation.labels, like=case.grid)
        except SsaFastError as error:
            yield Outcome(name=files.name, seconds=stages.seconds, error=error)
            continue
        write_json(out / f"{files.name}.json", _record(segmentation, stages, bundle))
        yield Outcome(name=files.name, seconds=stages.seconds, path=path, segmentation=segmentation)


def _refuse_to_overwrite(files: CaseFiles, path: Path) -> None:
    """Raises CaseError if the result would take the place of one of the case's own files."""
    own = {file.resolve() for paths in files.found.values() for file in paths}
    if path.resolve() in own:
        raise CaseError(f"case {files.name}: {path} is one of its own files: choose another --out")


def _record(segmentation: Segmentation, stages: Stages, bundle: str) -> dict[str, object]:
    return {
        "case": segmentation.name,
        "volumes_ml": segmentation.volumes_ml,
        "plan": to_mapping(segmentation.plan),
        "seconds": {stage: round(seconds, 4) for stage, seconds in stages.seconds.items()},
        "bundle_sha256": bundle,
        "machine": machine_line(str(segmentation.device)),
    }
