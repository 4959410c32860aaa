"""Patches: where they lie, what they show, how they are turned."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssa_fast.errors import CaseError
from ssa_fast.train import dataset
from ssa_fast.train.config import AugmentConfig, TrainConfig
from ssa_fast.train.dataset import TrainingCase, draw_patch, load_training_case, phantom_training_case
from ssa_fast.volume.case import find_cases
from tests.cases import write_case

PLAIN = AugmentConfig(affine=0.0)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> TrainingCase:
    folder = tmp_path_factory.mktemp("cases")
    return load_training_case(find_cases([write_case(folder, "Case-001")])[0])


def test_a_training_case_knows_where_its_labels_are(case: TrainingCase) -> None:
    assert case.array.dtype == torch.float16
    assert case.array.shape[1:] == case.labels.shape
    for label, places in case.voxels.items():
        assert len(places) == int((case.labels == label).sum())
        assert (case.labels[tuple(torch.from_numpy(places.T))] == label).all()
    assert sorted(case.voxels) == [1, 2, 3]


def test_a_case_without_reference_cannot_be_trained_on(tmp_path: Path) -> None:
    files = find_cases([write_case(tmp_path, "Case-001", labels=False)])[0]
    with pytest.raises(CaseError, match=r"Case-001: no reference segmentation in .*: add Case-001-seg\.nii\.gz"):
        load_training_case(files)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), edges=st.tuples(*[st.sampled_from([16, 32])] * 3))
def test_a_patch_has_its_shape_and_shows_the_case_voxel_for_voxel(
    case: TrainingCase, seed: int, edges: tuple[int, int, int]
) -> None:
    config = TrainConfig(patch=edges, augment=PLAIN)
    drawn = draw_patch([case], config, np.random.default_rng(seed))
    patch, labels = drawn.array, drawn.labels
    assert drawn.case == case.name
    assert patch.shape == (4, *edges)
    assert labels.shape == edges
    assert patch.dtype == torch.float32
    assert labels.dtype == torch.int64
    # the same values with the same labels, whatever the place: (value, label) pairs of the patch are in the case
    inside = patch[0] != 0
    pairs = set(zip(patch[0][inside].tolist(), labels[inside].tolist(), strict=True))
    known = set(zip(case.array[0].float().flatten().tolist(), case.labels.flatten().tolist(), strict=True))
    assert pairs <= known


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_with_tumor_share_one_every_patch_holds_tumor(case: TrainingCase, seed: int) -> None:
    config = TrainConfig(patch=(16, 16, 16), tumor_share=1.0, augment=PLAIN)
    labels = draw_patch([case], config, np.random.default_rng(seed)).labels
    assert (labels > 0).any()


def test_a_case_without_tumor_gives_patches_too(case: TrainingCase) -> None:
    healthy = dataclasses.replace(case, labels=torch.zeros_like(case.labels), voxels={})
    config = TrainConfig(patch=(16, 16, 16), tumor_share=1.0, augment=PLAIN)
    patch = draw_patch([healthy], config, np.random.default_rng(0))
    assert patch.array.any()
    assert not patch.labels.any()


def test_an_unturned_patch_is_the_plain_one(case: TrainingCase) -> None:
    center = np.array([10.0, 9.0, 8.0])
    patch, labels = dataset._turned_patch(case, (16, 16, 16), center, np.eye(3))
    start = (center - 8).astype(int)
    torch.testing.assert_close(patch, dataset._crop(case.array, start, (16,) * 3).float(), atol=1e-3, rtol=0)
    assert torch.equal(labels, dataset._crop(case.labels[None], start, (16,) * 3)[0].long())


def test_a_quarter_turn_is_that_of_numpy(case: TrainingCase) -> None:
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # shows (-y, x, z) at (x, y, z)
    center = np.array([10.0, 9.0, 8.0])
    patch, labels = dataset._turned_patch(case, (16, 16, 16), center, quarter)
    plain, plain_labels = dataset._turned_patch(case, (16, 16, 16), center, np.eye(3))
    torch.testing.assert_close(patch, torch.rot90(plain, k=-1, dims=(1, 2)), atol=1e-3, rtol=0)
    assert torch.equal(labels, torch.rot90(plain_labels, k=-1, dims=(0, 1)))


def test_scaling_by_two_shows_half_as_much(case: TrainingCase) -> None:
    center = np.array([10.0, 9.0, 8.0])
    _, near = dataset._turned_patch(case, (32, 32, 32), center, np.eye(3) / 2)
    _, plain = dataset._turned_patch(case, (32, 32, 32), center, np.eye(3))
    assert int((near > 0).sum()) == pytest.approx(8 * int((plain > 0).sum()), rel=0.05)


def test_phantoms_have_their_share_of_the_patches(case: TrainingCase) -> None:
    config = dataclasses.replace(TrainConfig(), phantoms=1, phantom_share=0.25)
    phantom = dataclasses.replace(case, name="Phantom", is_phantom=True)
    rng = np.random.default_rng(0)
    drawn = [draw_patch([case, phantom], config, rng).case for _ in range(200)]
    assert drawn.count("Phantom") == pytest.approx(50, abs=15)


def test_a_phantom_is_a_case_like_a_real_one() -> None:
    phantom = phantom_training_case(seed=3, index=0)
    assert phantom.is_phantom
    assert phantom.array.dtype == torch.float16
    assert phantom.array.shape[1:] == phantom.labels.shape
    assert set(phantom.voxels) == {1, 2, 3}
    inside = phantom.array[0][phantom.array[0] != 0].float()
    assert float(inside.mean()) == pytest.approx(0, abs=0.01)
    assert float(inside.std()) == pytest.approx(1, abs=0.01)
