"""A process that segments the same few cases again and again, and says after each what it took and holds.

    python -m benchmarks.soak_worker BUNDLE COUNT OUT CASE...

Files to files, as `infer` does it one after the other; the first case, which compiles, is not told.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ssa_fast.hardware import keep_heap_small
from ssa_fast.infer.cohort import CohortRun, segment_cohort
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.opening import open_network
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.measure import peak_memory_bytes, resident_bytes
from ssa_fast.volume.case import find_cases


def main() -> None:
    """One line of JSON in the end: seconds and resident bytes by case, and the peak."""
    bundle, count, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    cases = find_cases([Path(case) for case in sys.argv[4:]])
    keep_heap_small()
    opened = open_network(bundle)
    segmenter = Segmenter(opened.backend, intake=Intake(is_forced=True))
    seconds, resident = [], []
    for place in range(count + 1):
        start = time.perf_counter()
        for outcome in segment_cohort(segmenter, [cases[place % len(cases)]], CohortRun(out=out, facts=opened.facts)):
            if outcome.error is not None:
                raise outcome.error
        if place:
            seconds.append(time.perf_counter() - start)
            resident.append(resident_bytes())
    told = {
        "device": str(opened.backend.device),
        "seconds": seconds,
        "resident_bytes": resident,
        "peak_bytes": peak_memory_bytes(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
