"""What `ssa-fast infer` does with a case, in a process that has the network open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ssa_fast.backends import Choice
from ssa_fast.hardware import keep_heap_small
from ssa_fast.infer.cohort import CohortRun, segment_cohort
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.opening import open_network
from ssa_fast.infer.plan import Wish
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.volume.case import CaseFiles

__all__ = ["open_ours"]


def open_ours(
    bundle: Path, precision: Choice, window: tuple[int, int, int] | None
) -> Callable[[CaseFiles, Path], Path]:
    """What segments a case into a folder and gives the file: checked, hashed, recorded; in one pass without `window`.

    A case of which something is suspected is segmented all the same, as the peers do.
    """
    keep_heap_small()
    opened = open_network(bundle, "openvino", precision)
    segmenter = Segmenter(opened.backend, Wish(window=window), intake=Intake(is_forced=True))

    def segment(files: CaseFiles, out: Path) -> Path:
        [outcome] = segment_cohort(segmenter, [files], CohortRun(out=out, facts=opened.facts))
        if outcome.error is not None:
            raise outcome.error
        assert outcome.path is not None
        return outcome.path

    return segment
