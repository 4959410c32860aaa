"""A process with one network open: a line of JSON in asks for a run, a line out says how long it took.

    python -m benchmarks.engine_worker SETUP

Timed is a call of the network on arrays in memory, or of all windows of a volume with their blending, up to the labels.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engine_process import Setup
from ssa_fast import hardware
from ssa_fast.backends import Backend, open_backend
from ssa_fast.config import from_mapping
from ssa_fast.measure import peak_memory_bytes
from ssa_fast.model.bundle import read_bundle
from ssa_fast.volume.geometry import FloatArray, LabelArray
from ssa_fast.volume.postprocess import labels_from_logits
from ssa_fast.volume.windows import blended_slabs, window_boxes

__all__ = ["main"]


def main() -> None:
    """Answer until the input ends."""
    setup = from_mapping(Setup, json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is no answer
    if setup.threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setup.threads])
        hardware.cpu.cache_clear()
    windows = np.load(setup.windows)
    start = time.perf_counter()
    backend = _opened(setup)
    seconds = time.perf_counter() - start
    answers.write(json.dumps({"seconds": seconds, "device": str(backend.device)} | _peaks()) + "\n")
    run, labels = _run(setup, backend, windows), np.zeros(0, dtype=np.uint8)
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        if asked["do"] == "run":
            labels = run()
        else:
            np.save(asked["path"], labels)
        answers.write(json.dumps({"seconds": time.perf_counter() - start} | _peaks()) + "\n")


def _opened(setup: Setup) -> Backend:
    backend = open_backend(setup.backend, read_bundle(Path(setup.bundle)), setup.precision)
    if setup.is_contiguous:  # a rung that nothing takes by itself
        import torch

        given: Any = backend
        given._layout = torch.contiguous_format
        given._network = given._network.to(memory_format=torch.contiguous_format)
    return backend


def _run(setup: Setup, backend: Backend, windows: FloatArray) -> Callable[[], LabelArray]:
    """What gives the labels (X, Y, Z) of the only volume in `windows` (1, C, X, Y, Z)."""
    if setup.window is None and setup.gives == "labels":
        return lambda: backend.labels(windows)[0]
    if setup.window is None:
        return lambda: labels_from_logits(backend.logits(windows)[0])
    shape, foreground = windows.shape[2:], (windows[0] != 0).any(axis=0)
    boxes = window_boxes(shape, setup.window, setup.overlap)

    def blended() -> LabelArray:
        labels: LabelArray = np.zeros(shape, dtype=np.uint8)
        for first, slab in blended_slabs(windows[0], boxes, backend.logits, foreground=foreground, batch=setup.batch):
            labels[first : first + slab.shape[1]] = labels_from_logits(slab)
        return labels

    return blended


def _peaks() -> dict[str, int | None]:
    """High-water marks of this process: resident, and on the GPU what torch had allocated, where torch computes there.

    Only what is loaded already is asked: a process of another engine stays without torch.
    """
    torch = sys.modules.get("torch")
    is_on_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    on_gpu = int(torch.cuda.max_memory_allocated()) if is_on_gpu and torch is not None else None
    return {"peak_bytes": peak_memory_bytes(), "gpu_peak_bytes": on_gpu}


if __name__ == "__main__":
    main()
