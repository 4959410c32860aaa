"""What reading and writing a case costs, and what is done between its files and the network.

Files are in the system's cache. Reading: four `.nii.gz` to checked arrays; preparing: to the normalized brain box;
writing: a label map, and one of four probabilities.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.high_water import HighWater
from ssa_fast.labels import MODALITIES
from ssa_fast.measure import machine_line, paired_ratio
from ssa_fast.volume.case import Case, CaseFiles, read_case
from ssa_fast.volume.nifti import read_labels, write_labels
from ssa_fast.volume.preprocess import crop_to_brain
from ssa_fast.volume.sanity import suspicions


@pytest.fixture(scope="module")
def case(case_files: CaseFiles) -> Case:
    return read_case(case_files)


@pytest.mark.benchmark(group="reading and writing")
def bench_read_case(benchmark: BenchmarkFixture, case_files: CaseFiles) -> None:
    """A B A B beside nibabel alone, in float32; equal voxels are asserted."""

    def by_nibabel() -> list[np.ndarray]:
        return [np.asarray(nibabel.load(case_files.one(name)).dataobj, dtype=np.float32) for name in MODALITIES]

    for volume, theirs in zip(read_case(case_files).volumes, by_nibabel(), strict=True):
        assert np.array_equal(np.sort(volume.array, axis=None), np.sort(theirs, axis=None))
    ratio = paired_ratio(by_nibabel, lambda: read_case(case_files), rounds=1 if benchmark.disabled else 5)
    benchmark.extra_info["machine"] = machine_line("reading")
    benchmark.extra_info["times_as_fast_as_nibabel"] = round(ratio, 3)
    with HighWater() as water:
        benchmark.pedantic(read_case, (case_files,), rounds=7, warmup_rounds=1)
    benchmark.extra_info["added_bytes"] = water.added_bytes
    print(f"reading: {ratio:.2f} times as fast as nibabel")


@pytest.mark.benchmark(group="reading and writing")
def bench_prepare_case(benchmark: BenchmarkFixture, case: Case) -> None:
    with HighWater() as water:
        benchmark.pedantic(lambda: suspicions(case, crop_to_brain(case)), rounds=7, warmup_rounds=1)
    benchmark.extra_info["added_bytes"] = water.added_bytes


@pytest.mark.benchmark(group="reading and writing")
def bench_write_labels(benchmark: BenchmarkFixture, case: Case, case_files: CaseFiles, tmp_path: Path) -> None:
    labels = np.asarray(read_labels(case_files.one("seg")).array, dtype=np.uint8)
    path = tmp_path / "labels.nii.gz"
    with HighWater() as water:
        benchmark.pedantic(write_labels, (path, labels, case.grid), rounds=7, warmup_rounds=1)
    benchmark.extra_info.update(bytes=path.stat().st_size, added_bytes=water.added_bytes)
    assert np.array_equal(read_labels(path).array, labels)
