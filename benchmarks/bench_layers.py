"""Where a network's time goes by OpenVINO, layer by layer, and what a tighter box would spare.

    pytest benchmarks/bench_layers.py --benchmark-only -s --bundle BUNDLE --int8-bundle INT8 --records FOLDER

Times are OpenVINO's own counters, the least of some passes over one brain; shares hold better than milliseconds. A
layer belongs to the resolution of what it gives. The boxes are those of the cohort's brains; nothing is run for them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import properties
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.records import preset_of, processor
from ssa_fast import hardware
from ssa_fast.model.argmax import LABELS, LOGIT_MEAN, with_labels
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.volume.case import CaseFiles, read_case, read_reference
from ssa_fast.volume.geometry import BoolArray, FloatArray, padded_shape
from ssa_fast.volume.preprocess import crop_to_brain, pad_brain

PASSES = 5
TRIMMED = (0.001, 0.003, 0.01)  # of the brain's voxels, left outside of a tighter box
BLOCK = 16  # voxels an edge
KINDS = {"Convolution": "convolution", "ConvolutionBackpropData": "transposed convolution", "MVN": "norm"}


@pytest.mark.benchmark(group="where the time goes")
def bench_layers(
    benchmark: BenchmarkFixture,
    asked_bundle: Path,
    int8_bundle: Path | None,
    case_files: CaseFiles,
    keep_record: Any,
) -> None:
    bundle = read_bundle(asked_bundle)
    windows, _ = pad_brain(crop_to_brain(read_case(case_files)), bundle.spec.divisor)
    if benchmark.disabled:
        windows = np.ascontiguousarray(windows[..., 48:80, 48:80, 48:80])
    precision = openvino.Type.bf16 if hardware.cpu().has_bf16 else openvino.Type.f32
    bundles = {"float32": (bundle, openvino.Type.f32), precision.to_string(): (bundle, precision)}
    if int8_bundle is not None:
        bundles["int8"] = (read_bundle(int8_bundle), precision)
    record: dict[str, Any] = {
        "what": "milliseconds of a network's layers by OpenVINO's counters, over one brain, by resolution and kind",
        "command": "pytest benchmarks/bench_layers.py --benchmark-only -s --bundle BUNDLE --int8-bundle INT8",
        "network": preset_of(bundle.spec),
        "input": list(windows.shape),
        "machine": f"{processor()}; openvino {openvino.__version__}",
        "precisions": {name: _times(one, kind, windows) for name, (one, kind) in bundles.items()},
    }
    benchmark.pedantic(lambda: _times(bundle, openvino.Type.f32, windows), rounds=1)
    for row in record["precisions"].values():
        assert row["milliseconds"] > 0
    benchmark.extra_info.update(record)
    keep_record(f"layers-{record['network']}", record)


@pytest.mark.benchmark(group="a tighter box")
def bench_a_tighter_box(benchmark: BenchmarkFixture, cohort: list[CaseFiles], keep_record: Any) -> None:
    rows = benchmark.pedantic(lambda: [_box_row(files) for files in cohort], rounds=1)
    means = {key: round(float(np.mean([row[key] for row in rows])), 3) for key in rows[0]}
    lost = sum(row["tumor_voxels_lost"] for row in rows)
    record = {
        "what": "voxels of the padded box that the network runs over, as shares, means over the cases",
        "command": "pytest benchmarks/bench_layers.py -k tighter --benchmark-only -s",
        "cases": len(rows),
        "padded_over_box": means["padded_over_box"],
        "tighter_over_padded": {f"{share:.1%} of the brain left out": means[f"without_{share}"] for share in TRIMMED},
        "tumor_voxels_lost_by_the_tightest": lost,
        f"blocks_of_{BLOCK}_with_brain": means["blocks"],
        f"slabs_of_{BLOCK}_cut_to_their_brain": means["slabs"],
    }
    benchmark.extra_info.update(record)
    keep_record("boxes", record)


def _times(bundle: Bundle, precision: openvino.Type, windows: FloatArray) -> dict[str, Any]:
    core = openvino.Core()
    graph = core.read_model(with_labels(bundle.content), b"")
    wanted = {LABELS, LOGIT_MEAN}
    results = [result for result in graph.get_results() if result.input_value(0).get_names() & wanted]
    settings = {
        properties.hint.inference_precision: precision,
        properties.hint.performance_mode: properties.hint.PerformanceMode.LATENCY,
        properties.inference_num_threads: hardware.cpu().threads,
        properties.enable_profiling: True,
    }
    model = openvino.Model(results, graph.get_parameters())
    model.reshape(windows.shape)
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(1 + PASSES):
        request.infer({0: openvino.Tensor(windows, shared_memory=True)}, share_outputs=True)
        for layer in request.profiling_info:
            times[layer.node_name, layer.node_type].append(1e3 * layer.real_time.total_seconds())
    edges = {op.get_friendly_name(): _edge(op, windows) for op in compiled.get_runtime_model().get_ops()}
    rows: Counter[str] = Counter()
    for (name, kind), each in times.items():
        rows[f"1/{edges.get(name, 1)} {KINDS.get(kind, 'other')}"] += min(each[1:])
    whole = sum(rows.values())
    return {"milliseconds": round(whole, 1), "share": {name: round(ms / whole, 3) for name, ms in sorted(rows.items())}}


def _edge(op: Any, windows: FloatArray) -> int:
    """By how much a layer's output is coarser than the input, an edge; 1 where it is no volume."""
    shape = op.output(0).get_shape() if op.get_output_size() else ()
    return round(windows.shape[2] / shape[2]) if len(shape) == 5 else 1


def _box_row(files: CaseFiles) -> dict[str, float]:
    case = read_case(files)
    brain = crop_to_brain(case)
    inside = brain.foreground
    tumor = read_reference(files, case)[brain.box.slices] > 0
    padded = math.prod(padded_shape(inside.shape, BLOCK))
    row = {"padded_over_box": padded / inside.size}
    for share in TRIMMED:
        part = _trimmed(inside, share)
        row[f"without_{share}"] = math.prod(padded_shape(inside[part].shape, BLOCK)) / padded
    row["tumor_voxels_lost"] = int(np.count_nonzero(tumor)) - int(np.count_nonzero(tumor[part]))
    whole = np.zeros(padded_shape(inside.shape, BLOCK), dtype=np.bool_)
    whole[tuple(slice(edge) for edge in inside.shape)] = inside
    x, y, z = (edge // BLOCK for edge in whole.shape)
    blocks = whole.reshape(x, BLOCK, y, BLOCK, z, BLOCK).any(axis=(1, 3, 5))
    row["blocks"] = float(blocks.mean())
    row["slabs"] = sum(_extent(slab.any(1)) * _extent(slab.any(0)) for slab in blocks) / blocks.size
    return row


def _trimmed(inside: BoolArray, share: float) -> tuple[slice, ...]:
    """The box without the outermost planes, as many as hold `share` of the voxels, a sixth at each side."""
    part = []
    for axis in range(3):
        line = np.cumsum(inside.sum(axis=tuple(other for other in range(3) if other != axis))) / inside.sum()
        part.append(slice(int(np.searchsorted(line, share / 6)), int(np.searchsorted(line, 1 - share / 6)) + 1))
    return tuple(part)


def _extent(line: BoolArray) -> int:
    """From the first True to the last."""
    places = np.flatnonzero(line)
    return int(places[-1] - places[0]) + 1 if places.size else 0
