"""`ssa-fast` as a user calls it: a process from its start to its end, and what it says of itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Run", "infer"]

_ROOT = Path(__file__).resolve().parents[1]
_PEAK = re.compile(r"peak memory ([\d.]+) GB")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One call of `ssa-fast infer` that ended well."""

    seconds: float  # from the start of the process to its end
    seconds_of_cases: float  # from when its network was open to its end
    network_seconds: dict[str, float]  # by case, as its records have it
    peak_gb: float  # as it says
    passes: dict[str, int]  # by case


def infer(cases: Sequence[Path], out: Path, *options: str) -> Run:
    """Segment cases into `out`, a new folder. Raises RuntimeError, with what it said, if it fails."""
    command = [sys.executable, "-m", "ssa_fast", "infer", *map(str, cases), "--out", str(out), *options]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    }
    said: list[str] = []
    start = opened = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment | {"PYTHONUNBUFFERED": "1"},
        cwd=_ROOT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("network "):
                opened = time.perf_counter()
            said.append(line)
    end = time.perf_counter()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {''.join(said)}")
    peak = _PEAK.search(said[-1])
    assert peak is not None, said[-1]
    records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return Run(
        seconds=end - start,
        seconds_of_cases=end - opened,
        network_seconds={record["case"]: record["seconds"]["network"] for record in records},
        peak_gb=float(peak[1]),
        passes={record["case"]: record["plan"]["passes"] for record in records},
    )
