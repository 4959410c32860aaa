"""The profile `brats2023` against its rules written out plainly, on random pairs of label maps and on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("cc3d", reason="needs connected-components-3d: pip install 'ssa-fast[evaluate]'")
pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")

from ssa_fast.metrics.profiles import PROFILES, score
from ssa_fast.volume.nifti import read_labels
from tests.metrics.brats2023 import REGIONS, brats2023

Labels = npt.NDArray[np.uint8]
SHAPE = (24, 18, 14)
PAIRS = 200
MARGIN = 5  # voxels left around what is labelled: more than a lesion is grown by


def assert_identical(reference: Labels, predicted: Labels, what: str, edge_mm: float = 1) -> None:
    found = score(reference, predicted, (edge_mm, edge_mm, edge_mm), PROFILES["brats2023"])
    expected = brats2023(reference, predicted, edge_mm)
    assert list(found) == list(REGIONS)
    for region, values in found.items():
        assert values == pytest.approx(expected[region], rel=0, abs=1e-12), f"{what}, {region}"


def blocks(rng: np.random.Generator, count: int) -> Labels:
    """Boxes of 1 to 7 voxels an edge, each of one label, over one another."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for _ in range(count):
        edges = rng.integers(1, 8, 3)
        start = [rng.integers(0, size - edge + 1) for size, edge in zip(SHAPE, edges, strict=True)]
        labels[tuple(slice(a, a + edge) for a, edge in zip(start, edges, strict=True))] = rng.integers(1, 4)
    return labels


def perturbed(labels: Labels, rng: np.random.Generator) -> Labels:
    """Moved, with parts taken out, relabelled and added."""
    moved = np.roll(labels, rng.integers(-2, 3, 3), axis=(0, 1, 2))
    moved[rng.random(moved.shape) < rng.choice([0, 0.02, 0.3])] = 0
    plane = rng.integers(0, moved.shape[0])
    moved[plane : plane + 2] = 0  # cut in two
    moved[moved == 1] = rng.choice([1, 2])
    for _ in range(rng.integers(0, 3)):
        start = [rng.integers(0, edge - 3) for edge in moved.shape]
        moved[tuple(slice(place, place + 3) for place in start)] = rng.integers(1, 4)
    return moved


def test_two_hundred_random_pairs_score_as_the_rules_written_out() -> None:
    rng = np.random.default_rng(2023)
    has_missed = has_false = is_empty = 0
    for number in range(PAIRS):
        reference = blocks(rng, rng.integers(0, 6))
        predicted = blocks(rng, rng.integers(0, 6)) if number % 2 else perturbed(reference, rng)
        assert_identical(reference, predicted, f"pair {number}")
        scores = score(reference, predicted, (1, 1, 1), PROFILES["brats2023"])
        has_missed += scores["WT"]["lesions_missed"] > 0
        has_false += scores["WT"]["false_alarms"] > 0
        is_empty += not (reference.any() and predicted.any())
    assert min(has_missed, has_false, is_empty) >= PAIRS // 20  # the pairs reach the rules


@pytest.mark.parametrize("step", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_the_real_references_perturbed_score_as_the_rules_written_out(shared_ssa: Path, step: int) -> None:
    rng = np.random.default_rng(15)
    paths = sorted(shared_ssa.glob("*/*-seg.nii.gz"))
    assert len(paths) == 15
    for path in paths:
        labels = np.asarray(read_labels(path).array)[::step, ::step, ::step]
        there = [np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        box = tuple(slice(max(0, int(its[0]) - MARGIN), int(its[-1]) + MARGIN + 1) for its in there)
        reference = np.ascontiguousarray(labels[box])
        assert_identical(reference, perturbed(reference, rng), path.name, edge_mm=step)
