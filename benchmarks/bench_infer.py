"""How long a case takes, and how much of that is the engine.

Inside the timed region of the pass: from the cropped, normalized brain to its label map (padding, network, argmax,
back to the case's grid). Compiling for the brain's shape happens in the warm-up. Accuracy beside each row: share of
brain voxels with the labels of torch eager float32. The whole case has the seconds of each stage, too. Its peak memory
is told by `bench_memory.py`, of a process of its own.
"""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ssa_fast import hardware
from ssa_fast.backends import Backend, Choice, available_backends, open_backend
from ssa_fast.infer.segmentation import Segmentation
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.measure import Stages, machine_line, paired_ratio
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.case import CaseFiles, read_case
from ssa_fast.volume.geometry import LabelArray
from ssa_fast.volume.postprocess import restore_labels
from ssa_fast.volume.preprocess import crop_to_brain, pad_brain

RUNS: list[tuple[str, Choice]] = [(name, "float32") for name in available_backends()]
if hardware.cpu().has_bf16:
    RUNS += [(name, "bf16") for name in available_backends() if name != "ort"]
LARGEST_OVERHEAD = 1.3  # of one pass over the engine's own time

every_run = pytest.mark.parametrize(("name", "precision"), RUNS, ids=["-".join(run) for run in RUNS])


@pytest.fixture(scope="module")
def reference_labels(lite: Bundle, case_files: CaseFiles) -> LabelArray:
    """What torch eager float32 makes of the case."""
    return Segmenter(open_backend("torch", lite, "float32")).segment(read_case(case_files)).labels


def _agreement(backend: Backend, case_files: CaseFiles, reference: LabelArray) -> float:
    case = read_case(case_files)
    brain = np.logical_or.reduce([volume.array != 0 for volume in case.volumes])
    return float((Segmenter(backend).segment(case).labels == reference)[brain].mean())


@pytest.mark.benchmark(group="whole case, files to labels")
@every_run
def bench_whole_case(
    benchmark: BenchmarkFixture,
    name: str,
    precision: Choice,
    lite: Bundle,
    case_files: CaseFiles,
    reference_labels: LabelArray,
) -> None:
    backend = open_backend(name, lite, precision)
    segmenter = Segmenter(backend)
    benchmark.extra_info["machine"] = machine_line(str(backend.device))
    benchmark.extra_info["label_agreement"] = _agreement(backend, case_files, reference_labels)
    segmented: list[Segmentation] = []

    def whole() -> None:
        stages = Stages()
        with stages.measure("read"):
            case = read_case(case_files)
        segmented[:] = [segmenter.segment(case)]
        seconds.append({**stages.seconds, **segmented[0].seconds})

    seconds: list[dict[str, float]] = []
    benchmark.pedantic(whole, warmup_rounds=1, rounds=5)
    measured = seconds[-5:]
    stages = {stage: round(statistics.median(one[stage] for one in measured), 4) for stage in measured[0]}
    benchmark.extra_info["stages_seconds"] = stages
    print(f"{name} {precision}: {', '.join(f'{stage} {value:.3f} s' for stage, value in stages.items())}")
    backend.close()


@every_run
def bench_one_pass_costs_little_beside_the_engine(
    benchmark: BenchmarkFixture, name: str, precision: Choice, lite: Bundle, case_files: CaseFiles
) -> None:
    """A B A B: the pass with all that is around the network, against the network alone on the same windows."""
    case = read_case(case_files)
    brain = crop_to_brain(case)
    backend = open_backend(name, lite, precision)
    windows, _ = pad_brain(brain, lite.spec.divisor)

    def one_pass() -> LabelArray:
        padded, inner = pad_brain(brain, lite.spec.divisor)
        return restore_labels(backend.labels(padded)[0], inner, brain, case)

    rounds = 1 if benchmark.disabled else 7
    ratio = paired_ratio(one_pass, lambda: backend.labels(windows), rounds)
    benchmark.extra_info["machine"] = machine_line(str(backend.device))
    benchmark.extra_info["overhead"] = ratio
    benchmark.pedantic(one_pass, rounds=3)
    backend.close()
    print(f"{name} {precision}: one pass takes {ratio:.2f} times the engine's own time")
    assert benchmark.disabled or ratio <= LARGEST_OVERHEAD
