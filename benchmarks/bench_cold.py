"""A cold call: what a process costs before, beside and behind the network's own work, each round in a new process.

CPU seconds (user and system) stand beside wall seconds, for a busy machine stretches only the second.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ssa_fast.backends import available_backends
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.case import CaseFiles

ROUNDS = 3

# argv: how, bundle, folder; prints CPU seconds of opening, of the first call and of the second
_OPENING = """
import io, json, resource, sys
from pathlib import Path
import numpy as np
from openvino import Tensor, properties
from ssa_fast.backends import openvino as backend
from ssa_fast.model.bundle import read_bundle

how, bundle, folder = sys.argv[1], read_bundle(Path(sys.argv[2])), Path(sys.argv[3])
windows = np.random.default_rng(0).standard_normal((1, 4, 144, 176, 144), dtype=np.float32)
settings = backend._settings(backend.cpu_precision("auto"))
if how == "cache_dir":
    settings[properties.cache_dir] = str(folder)

def seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

laps = [seconds()]
if how == "import_model":
    compiled = backend._core().import_model((folder / "engine").read_bytes(), "CPU", settings)
else:
    compiled = backend._core().compile_model(backend._core().read_model(io.BytesIO(bundle.content)), "CPU", settings)
laps.append(seconds())
request = compiled.create_infer_request()
for _ in range(2):
    request.infer({0: Tensor(windows, shared_memory=True)}, share_outputs=True)
    laps.append(seconds())
print(json.dumps([after - before for before, after in zip(laps, laps[1:])]))
"""


def _cpu_seconds() -> float:
    """Of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.benchmark(group="cold-call")
@pytest.mark.parametrize("verb", ["--help", "infer --help", "infer"])
def bench_cold_call(verb: str, benchmark: BenchmarkFixture, case_files: CaseFiles, tmp_path: Path) -> None:
    """`ssa-fast` in a new process; `infer` of one case with the shipped bundle, all of it: imports to the last file."""
    command = [sys.executable, "-m", "ssa_fast", *verb.split()]
    if verb == "infer":
        command += [str(case_files.one("t1n").parent), "--out", str(tmp_path)]
        command += ["--force"] if benchmark.disabled else []  # the case is noise then, and suspected
    before = _cpu_seconds()
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=ROUNDS)
    rounds = 1 if benchmark.disabled else ROUNDS
    benchmark.extra_info["cpu_seconds"] = (_cpu_seconds() - before) / rounds


@pytest.mark.benchmark(group="cold-open")
@pytest.mark.parametrize("how", ["compile", "cache_dir", "import_model"])
def bench_compiled_graph(how: str, benchmark: BenchmarkFixture, lite: Bundle, tmp_path: Path) -> None:
    """Opening the shipped bundle: compiled, by OpenVINO's own warm cache, and read back as an engine is.

    The graph has dynamic shapes, so what is compiled for a shape is compiled by the first call, whichever way it was
    opened: `first` less `second` in the extra info.
    """
    if "openvino" not in available_backends():
        pytest.skip("backend 'openvino': its library is not installed")
    from ssa_fast.backends.openvino import exported, open_bundle

    with closing(open_bundle(lite, "auto")) as backend:
        (tmp_path / "engine").write_bytes(exported(backend, "logits"))
    laps: list[list[float]] = []

    def opened() -> None:
        command = [sys.executable, "-c", _OPENING, how, str(lite.path), str(tmp_path)]
        laps.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))

    benchmark.pedantic(opened, warmup_rounds=1, rounds=ROUNDS)  # the warm-up fills the cache
    for place, name in enumerate(("open", "first", "second")):
        benchmark.extra_info[f"{name}_cpu_seconds"] = min(lap[place] for lap in laps[-ROUNDS:])
