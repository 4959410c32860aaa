"""A tumor in another brain: where it may go, what it brings along, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ssa_fast.train.config import AugmentConfig, TrainConfig
from ssa_fast.train.dataset import TrainingCase, draw_patch
from ssa_fast.train.transplant import Graft, _faded, cut_graft, transplanted
from ssa_fast.volume.geometry import FloatArray

Labels = npt.NDArray[np.int64]


def _brain(level: float, spread: float, seed: int) -> FloatArray:
    """Two modalities of 32 voxels an edge, brain but for a frame of 3."""
    array = np.zeros((2, 32, 32, 32), dtype=np.float32)
    inner = (slice(None), *[slice(3, 29)] * 3)
    array[inner] = np.random.default_rng(seed).normal(level, spread, array[inner].shape)
    return array


@pytest.fixture
def graft() -> Graft:
    """A cube of core in one of oedema, much brighter than its brain."""
    array = _brain(1.0, 0.1, seed=0)[:, 6:26, 6:26, 6:26]
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[6:14, 6:14, 6:14] = 2
    labels[8:11, 8:11, 8:11] = 3
    array[:, labels > 0] += 2
    return Graft(array=array, labels=labels)


@pytest.fixture
def target() -> tuple[FloatArray, Labels]:
    return _brain(-2.0, 0.2, seed=1), np.zeros((32, 32, 32), dtype=np.int64)


def test_labels_come_along_and_nothing_else_is_labeled(graft: Graft, target: tuple[FloatArray, Labels]) -> None:
    changed = transplanted(*target, graft, np.random.default_rng(0))
    assert changed is not None
    counts = {label: int((changed[1] == label).sum()) for label in (1, 2, 3)}
    assert counts[1] == 0
    assert counts[3] == 27
    assert 0.97 * (512 - 27) <= counts[2] <= 512 - 27


def test_a_tumor_keeps_its_contrast_in_the_units_of_its_new_surroundings(
    graft: Graft, target: tuple[FloatArray, Labels]
) -> None:
    changed = transplanted(*target, graft, np.random.default_rng(0))
    assert changed is not None
    array, labels = changed
    for channel in array:
        # 2 above surroundings that spread by 0.1, into some that spread by 0.2: stretched by 1.7 at most
        assert float(channel[labels > 0].mean()) == pytest.approx(-2 + 1.7 * 2, abs=0.1)


def test_the_rest_of_the_patch_stays_and_the_border_is_passed_over(
    graft: Graft, target: tuple[FloatArray, Labels]
) -> None:
    before = target[0].copy()
    changed = transplanted(*target, graft, np.random.default_rng(0))
    assert changed is not None
    array, labels = changed
    places = np.argwhere(labels > 0)
    far = np.ones(labels.shape, dtype=bool)
    far[tuple(slice(max(0, low - 3), high + 4) for low, high in zip(places.min(0), places.max(0), strict=True))] = False
    np.testing.assert_array_equal(array[:, far], before[:, far])
    np.testing.assert_array_equal(target[0], before)  # the caller's patch
    assert not array[:, ~(before != 0).any(axis=0)].any()
    assert not labels[~(before != 0).any(axis=0)].any()
    assert not np.array_equal(array[:, ~far & (labels == 0)], before[:, ~far & (labels == 0)])


def test_it_fades_by_a_quarter_a_voxel() -> None:
    tumor = np.zeros((9, 3, 3), dtype=bool)
    tumor[:2] = True
    assert _faded(tumor)[:, 1, 1].tolist() == [1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0]  # nothing comes in at the other end


@pytest.mark.parametrize("seed", range(5))
def test_a_tumor_lies_in_the_brain_and_hardly_on_another(graft: Graft, seed: int) -> None:
    array, labels = _brain(0.0, 1.0, seed=2), np.zeros((32, 32, 32), dtype=np.int64)
    labels[3:29, 3:29, 3:14] = 1
    changed = transplanted(array, labels, graft, np.random.default_rng(seed))
    if changed is not None:
        lost = (labels == 1) & (changed[1] != 1)
        assert lost.sum() <= 0.12 * 512


def test_where_there_is_no_room_nothing_happens(graft: Graft) -> None:
    rng = np.random.default_rng(0)
    array = np.zeros((2, 32, 32, 32), dtype=np.float32)
    labels = np.zeros((32, 32, 32), dtype=np.int64)
    assert transplanted(array, labels, graft, rng) is None
    array[:, 14:18, 14:18, 14:18] = 1  # a brain that is smaller than the tumor
    assert transplanted(array, labels, graft, rng) is None
    assert transplanted(_brain(0, 1, seed=0), np.ones_like(labels), graft, rng) is None  # tumor everywhere


def test_a_modality_that_is_blank_in_both_stays_blank(graft: Graft, target: tuple[FloatArray, Labels]) -> None:
    target[0][1] = graft.array[1] = 0
    changed = transplanted(*target, graft, np.random.default_rng(0))
    assert changed is not None
    assert not changed[0][1].any()
    assert not np.array_equal(changed[0][0], target[0][0])


@pytest.mark.parametrize("which", ["patch", "graft"])
def test_where_one_alone_has_a_modality_nothing_happens(
    graft: Graft, target: tuple[FloatArray, Labels], which: str
) -> None:
    (target[0] if which == "patch" else graft.array)[1] = 0  # its labels would stand on what shows no tumor
    assert transplanted(*target, graft, np.random.default_rng(0)) is None


def test_tumor_that_is_there_keeps_its_looks_where_it_keeps_its_label(graft: Graft) -> None:
    array, labels = _brain(0.0, 1.0, seed=2), np.zeros((32, 32, 32), dtype=np.int64)
    labels[3:29, 3:29, 3:14] = 1
    near = 0
    for seed in range(10):
        changed = transplanted(array, labels, graft, np.random.default_rng(seed))
        if changed is None:
            continue
        kept = (labels == 1) & (changed[1] == 1)
        np.testing.assert_array_equal(changed[0][:, kept], array[:, kept])
        new = np.isin(changed[1], (2, 3))
        near += bool((_faded(new)[kept] > 0).any())  # the new tumor's border reaches into it
    assert near


def test_a_graft_is_the_tumor_with_its_margin(graft: Graft) -> None:
    volume = np.zeros((2, 40, 40, 40), dtype=np.float16)
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    labels[10:20, 12:20, 30:39] = 2
    volume[:] = np.arange(40)[:, None, None] + 1
    places = {2: np.argwhere(labels == 2)}
    seen = set()
    for seed in range(8):
        cut = cut_graft(volume, labels, places, np.random.default_rng(seed))
        assert cut is not None
        assert cut.array.shape == (2, 22, 20, 16)  # the last axis ends with the volume
        assert int((cut.labels == 2).sum()) == 10 * 8 * 9
        seen.add(bool(cut.array[0, 0, 0, 0] > cut.array[0, -1, 0, 0]))
    assert seen == {False, True}  # left and right, by chance
    assert cut_graft(volume, labels, {}, np.random.default_rng(0)) is None


def _case(name: str, seed: int) -> TrainingCase:
    array = np.concatenate([_brain(0, 1, seed), _brain(0, 1, seed + 1)]).astype(np.float16)
    labels = np.zeros((32, 32, 32), dtype=np.uint8)
    labels[8:14, 8:14, 8:14] = 1 + seed
    voxels = {1 + seed: np.argwhere(labels > 0)}
    return TrainingCase(name=name, array=torch.from_numpy(array), labels=torch.from_numpy(labels), voxels=voxels)


def test_patches_get_tumors_of_other_cases_the_same_each_time_and_are_else_as_before() -> None:
    cases = [_case("A", 0), _case("B", 2)]
    config = TrainConfig(patch=(32, 32, 32), tumor_share=0.5)
    more = TrainConfig(patch=(32, 32, 32), tumor_share=0.5, augment=AugmentConfig(transplant=1.0))
    brought = 0
    for seed in range(8):
        plain, first, second = (draw_patch(cases, one, np.random.default_rng(seed)) for one in (config, more, more))
        assert torch.equal(first.array, second.array)
        assert torch.equal(first.labels, second.labels)
        assert (plain.case, plain.center) == (first.case, first.center)
        own = 1 if plain.case == "A" else 3
        new = first.labels[first.labels != plain.labels]
        assert set(new.tolist()) <= {4 - own}  # the other one's
        brought += bool(len(new))
    assert brought >= 4


def test_without_another_case_a_patch_stays_as_it_is() -> None:
    config = TrainConfig(patch=(32, 32, 32), augment=AugmentConfig(transplant=1.0))
    patch = draw_patch([_case("A", 0)], config, np.random.default_rng(0))
    assert set(patch.labels.unique().tolist()) <= {0, 1}
