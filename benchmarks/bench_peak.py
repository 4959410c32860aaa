"""What share of this machine's peak a network takes, by OpenVINO, network only, one pass over a brain.

    pytest benchmarks/bench_peak.py --benchmark-only -s --bundle BUNDLE --int8-bundle INT8

The peak is measured in the same run and precision: the better of a large matrix product by torch (oneDNN) and of 3x3x3
convolutions by OpenVINO at the channel count that suits it best. Then network and yardstick A B A B, so that a busy
machine slows both. Counted are the convolutions' multiplications and additions; norms, ReLU, pooling and concatenation
take time and count nothing. In int8 the layers that are not quantized count as if they were.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.records import preset_of, processor, rounded
from benchmarks.yardsticks import best_yardstick, seconds_of
from ssa_fast import hardware
from ssa_fast.backends import Choice, open_backend
from ssa_fast.measure import machine_line, ratio_of
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.spec import gflop
from ssa_fast.volume.case import CaseFiles, read_case
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.preprocess import crop_to_brain, pad_brain

LEAST_SHARE = 0.85  # what was promised of `reference`


@pytest.mark.benchmark(group="share of the peak")
def bench_a_networks_share_of_the_peak(
    benchmark: BenchmarkFixture,
    asked_bundle: Path,
    int8_bundle: Path | None,
    case_files: CaseFiles,
    rounds: int,
    keep_record: Any,
) -> None:
    bundle = read_bundle(asked_bundle)
    windows, _ = pad_brain(crop_to_brain(read_case(case_files)), bundle.spec.divisor)
    if benchmark.disabled:
        windows = np.ascontiguousarray(windows[..., 48:80, 48:80, 48:80])
    runs: dict[str, tuple[Path, Choice]] = {"float32": (asked_bundle, "float32")}
    if hardware.cpu().has_bf16:
        runs["bf16"] = (asked_bundle, "bf16")
    if int8_bundle is not None:
        runs["int8"] = (int8_bundle, "bf16" if hardware.cpu().has_bf16 else "float32")
    record: dict[str, Any] = {
        "what": "billions of operations a second of a network by OpenVINO, and their share of the best seen here",
        "command": "pytest benchmarks/bench_peak.py --benchmark-only -s --bundle BUNDLE --int8-bundle INT8",
        "network": preset_of(bundle.spec),
        "bundle_sha256": bundle.sha256,
        "int8_bundle_sha256": None if int8_bundle is None else read_bundle(int8_bundle).sha256,
        "input": list(windows.shape),
        "gflop": round(gflop(bundle.spec.network, windows.shape[2:]), 1),
        "machine": machine_line(processor()),
        "precisions": {},
    }
    for precision, (path, choice) in runs.items():
        row = _row(path, choice, precision, windows, rounds, is_small=benchmark.disabled)
        record["precisions"][precision] = row
        print(precision, row, flush=True)
    with closing(open_backend("openvino", bundle, "float32")) as backend:
        benchmark.pedantic(lambda: backend.logits(windows), rounds=1, warmup_rounds=1)
    benchmark.extra_info.update(record)
    keep_record(f"peak-{record['network']}", record)


def _row(
    path: Path, choice: Choice, precision: str, windows: FloatArray, rounds: int, *, is_small: bool
) -> dict[str, Any]:
    yardstick, paces = best_yardstick(precision, is_small=is_small)
    bundle = read_bundle(path)
    operations = 1e9 * gflop(bundle.spec.network, windows.shape[2:])
    pairs = []
    with closing(open_backend("openvino", bundle, choice)) as backend:
        backend.logits(windows)
        for _ in range(rounds):
            network, peak = seconds_of(lambda: backend.logits(windows)), seconds_of(yardstick.work)
            pairs.append((peak / yardstick.operations, network / operations))
    share = ratio_of(pairs)
    return {
        "network_gflop_a_second": round(1e-9 / min(own for _, own in pairs), 1),
        "yardstick": yardstick.name,
        "yardstick_gflop_a_second": round(1e-9 / min(best for best, _ in pairs), 1),
        "all_yardsticks_gflop_a_second": paces,
        "share_of_peak": rounded(share),
        f"at_least_{LEAST_SHARE}": share.median >= LEAST_SHARE,
    }
