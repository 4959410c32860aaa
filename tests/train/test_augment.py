"""Augmentation: what it may change and what it may not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ssa_fast.train import augment as module
from ssa_fast.train.augment import augment
from ssa_fast.train.config import AugmentConfig

OFF = AugmentConfig(
    flip=0,
    affine=0,
    noise=0,
    blur=0,
    thick_slices=0,
    low_resolution=0,
    contrast=0,
    gamma=0,
    bias_field=0,
    drop_modality=0,
)
INTENSITY = (
    "noise",
    "blur",
    "thick_slices",
    "low_resolution",
    "contrast",
    "gamma",
    "bias_field",
    "intensity_map",
    "synthesis",
)


@pytest.fixture
def patch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 16, 20, 24, generator=generator)
    images[:, :3] = 0  # outside the brain
    images[:, :, :, -2:] = 0
    labels = torch.randint(0, 4, (16, 20, 24), generator=generator) * (images[0] != 0)
    return images, labels


def test_all_off_changes_nothing(patch: tuple[Tensor, Tensor]) -> None:
    images, labels = augment(*patch, OFF, np.random.default_rng(0))
    assert torch.equal(images, patch[0])
    assert torch.equal(labels, patch[1])


def test_flips_move_images_and_labels_together(patch: tuple[Tensor, Tensor]) -> None:
    images, labels = augment(*patch, dataclasses.replace(OFF, flip=1.0), np.random.default_rng(0))
    assert torch.equal(images, patch[0].flip((1, 2, 3)))
    assert torch.equal(labels, patch[1].flip((0, 1, 2)))


@pytest.mark.parametrize("change", INTENSITY)
def test_an_intensity_change_leaves_labels_and_the_outside_alone(patch: tuple[Tensor, Tensor], change: str) -> None:
    before = patch[0].clone()
    images, labels = augment(*patch, dataclasses.replace(OFF, **{change: 1.0}), np.random.default_rng(0))
    outside = ~(patch[0] != 0).any(dim=0)
    assert torch.equal(labels, patch[1])
    assert not images[:, outside].any()
    assert images.isfinite().all()
    assert all(not torch.equal(after, given) for after, given in zip(images, patch[0], strict=True))
    assert torch.equal(patch[0], before)  # the caller's patch stays as it is


def test_a_dropped_modality_is_blank_and_the_others_are_not(patch: tuple[Tensor, Tensor]) -> None:
    images, _ = augment(*patch, dataclasses.replace(OFF, drop_modality=1.0), np.random.default_rng(0))
    assert sorted(bool(channel.any()) for channel in images) == [False, True, True, True]


def test_swapped_modalities_are_two_and_keep_their_voxels(patch: tuple[Tensor, Tensor]) -> None:
    images, labels = augment(*patch, dataclasses.replace(OFF, swap_modalities=1.0), np.random.default_rng(0))
    moved = [not torch.equal(after, before) for after, before in zip(images, patch[0], strict=True)]
    assert sum(moved) == 2
    first, second = (place for place, is_moved in enumerate(moved) if is_moved)
    assert torch.equal(images[first], patch[0][second])
    assert torch.equal(images[second], patch[0][first])
    assert torch.equal(labels, patch[1])


def test_low_resolution_keeps_a_constant_and_loses_what_is_fine() -> None:
    constant = torch.full((12, 16, 20), 3.0)
    torch.testing.assert_close(module._low_resolution(constant, 0.5), constant)
    fine = torch.arange(16.0).fmod(2).view(16, 1, 1).expand(16, 16, 16)
    assert float(module._low_resolution(fine, 0.5).std()) < 0.6 * float(fine.std())


def test_equal_seeds_give_equal_patches(patch: tuple[Tensor, Tensor]) -> None:
    strong = AugmentConfig(noise=1.0, blur=0.5, gamma=0.5, bias_field=0.5)
    first, second, third = (augment(*patch, strong, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_gamma_keeps_mean_and_deviation_of_the_brain(patch: tuple[Tensor, Tensor]) -> None:
    brain = patch[0][0] != 0
    bent = module._gamma(patch[0][0], module._Brain.of(patch[0][:1]), 1.7)
    torch.testing.assert_close(bent[brain].mean(), patch[0][0][brain].mean(), atol=1e-4, rtol=0)
    torch.testing.assert_close(bent[brain].std(), patch[0][0][brain].std(), atol=1e-4, rtol=0)


def test_a_random_curve_keeps_the_order_of_intensities_their_mean_and_deviation(patch: tuple[Tensor, Tensor]) -> None:
    channel = patch[0][0]
    brain = channel != 0
    order = channel[brain].argsort()
    of = module._Brain.of(channel[None])
    curves = [module._mapped(channel, of, np.random.default_rng(seed))[brain] for seed in (0, 1)]
    for curve in curves:
        assert bool((curve[order].diff() >= 0).all())
        torch.testing.assert_close(curve.mean(), channel[brain].mean(), atol=1e-4, rtol=0)
        torch.testing.assert_close(curve.std(), channel[brain].std(), atol=1e-4, rtol=0)
    assert float((curves[0] - curves[1]).abs().max()) > 0.1
    blank = torch.zeros(4, 4, 4)
    everywhere = module._Brain.of(torch.ones(1, 4, 4, 4))
    assert torch.equal(module._mapped(blank, everywhere, np.random.default_rng(0)), blank)


def test_what_is_new_draws_nothing_where_it_is_off(patch: tuple[Tensor, Tensor]) -> None:
    """A run from before it was known goes on as it would have."""
    rng, before = np.random.default_rng(0), np.random.default_rng(0)
    augment(*patch, OFF, rng)
    for _ in range(3 + 4 * 7 + 2):  # the flips, seven chances a modality, and two of them all
        before.random()
    assert rng.random() == before.random()


def test_blur_keeps_a_constant_and_spreads_a_point() -> None:
    blurred = module._blur(torch.ones(15, 15, 15), 1.0)
    assert blurred[7, 7, 7] == pytest.approx(1, abs=1e-5)
    point = torch.zeros(15, 15, 15)
    point[7, 7, 7] = 1
    spread = module._blur(point, 1.0)
    assert float(spread.sum()) == pytest.approx(1, abs=1e-4)
    variance = sum(float(spread[7 + step].sum()) * step**2 for step in range(-7, 8))
    assert variance == pytest.approx(1.0, rel=0.1)  # of a Gaussian of 1 voxel, cut at 2.5


@pytest.mark.parametrize("sigma", [0.5, 1.2])
def test_blur_is_a_convolution_also_where_an_edge_is_shorter_than_its_reach(sigma: float) -> None:
    channel = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
    reach = int(np.ceil(2.5 * sigma))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    line /= line.sum()
    wanted = functional.conv3d(
        channel[None, None], torch.einsum("i,j,k->ijk", line, line, line)[None, None], padding=reach
    )
    torch.testing.assert_close(module._blur(channel, sigma), wanted[0, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("reaches_ends", [False, True])
@pytest.mark.parametrize("shape", [(7, 11, 16), (5, 4, 9)])
def test_interpolation_is_torchs_trilinear_one(shape: tuple[int, int, int], *, reaches_ends: bool) -> None:
    channel = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))
    wanted = functional.interpolate(channel[None, None], size=shape, mode="trilinear", align_corners=reaches_ends)
    found = module._interpolated(channel, shape, reaches_ends=reaches_ends)
    torch.testing.assert_close(found, wanted[0, 0], atol=1e-5, rtol=0)


def test_thick_slices_blur_one_axis_only() -> None:
    along = torch.arange(16.0).view(16, 1, 1).expand(16, 16, 16)
    same = module._thick_slices(along.transpose(0, 1).contiguous(), axis=0, thickness=4)
    torch.testing.assert_close(same, along.transpose(0, 1))
    assert not torch.equal(module._thick_slices(along, axis=0, thickness=4), along)


def test_an_empty_patch_passes_through() -> None:
    images, labels = torch.zeros(4, 16, 16, 16), torch.zeros(16, 16, 16, dtype=torch.int64)
    assert not augment(images, labels, AugmentConfig(noise=1.0), np.random.default_rng(0))[0].any()
