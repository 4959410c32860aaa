"""A process with one network open: a line of JSON in names a case, a line out says how long it took.

    python -m benchmarks.peers.worker JOB

Timed is the way from the case's files to the segmentation's file; not the start of Python, imports and the weights.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssa_fast.measure import peak_memory_bytes
from ssa_fast.model.bundle import read_bundle
from ssa_fast.volume.case import CaseFiles, find_cases

__all__ = ["main"]


def main() -> None:
    """Answer until the input ends. JOB: kind, bundle, window, precision, threads."""
    job = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is no answer
    segment = _opened(job)
    answers.write(json.dumps({"peak_bytes": peak_memory_bytes()}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        [files], out = find_cases([Path(asked["case"])]), Path(asked["out"])
        out.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        path = segment(files, out)
        seconds = time.perf_counter() - start
        answers.write(json.dumps({"seconds": seconds, "path": str(path), "peak_bytes": peak_memory_bytes()}) + "\n")


def _opened(job: dict[str, Any]) -> Callable[[CaseFiles, Path], Path]:
    window = None if job["window"] is None else tuple(job["window"])
    if job["kind"] == "ours":
        from benchmarks.peers.ours import open_ours

        return open_ours(Path(job["bundle"]), job["precision"], window)
    import torch

    torch.set_num_threads(job["threads"])
    bundle = read_bundle(Path(job["bundle"]))
    assert window is not None, "the peers know only windows"
    if job["kind"] == "nnunet":
        from benchmarks.peers.nnunet import open_nnunet

        return open_nnunet(bundle, window)
    from benchmarks.peers.monai_window import open_monai

    return open_monai(bundle, window)


if __name__ == "__main__":
    main()
