"""How long one patch takes to be drawn and changed, beside nnU-Net's own transforms on the same case.

Inside the timed region: cutting the patch out of a case in memory, turning it, mirroring it, changing its intensities.
Needs `pip install batchgeneratorsv2`, which is no dependency: it draws from the process's global random streams, so
that a resumed run could not train as one that never stopped, and what it needs takes 350 MB (scikit-image,
scikit-learn, pandas). Its chances are nnU-Net's own; those of `best` are higher and are drawn for each modality.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.high_water import HighWater
from ssa_fast.measure import machine_line, paired_ratio
from ssa_fast.train.augment import augment
from ssa_fast.train.config import load_recipe
from ssa_fast.train.dataset import draw_patch, load_training_case
from ssa_fast.volume.case import CaseFiles

EDGE = 96


def nnunet_transforms() -> object:
    """nnU-Net's default chain for a 3D patch, deep supervision apart.

    Source: nnUNetTrainer.get_training_transforms of nnU-Net v2 (Isensee et al., Nature Methods 2021).
    """
    pytest.importorskip("batchgeneratorsv2", reason="batchgeneratorsv2 is not installed")
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    each = {"synchronize_channels": False, "p_per_channel": 1}
    turn = (-np.pi / 6, np.pi / 6)
    gamma = {"gamma": BGContrast((0.7, 1.5)), "p_retain_stats": 1, **each}
    return ComposeTransforms(
        [
            SpatialTransform(
                (EDGE, EDGE, EDGE),
                patch_center_dist_from_border=0,
                random_crop=False,
                p_rotation=0.2,
                rotation=turn,
                p_scaling=0.2,
                scaling=(0.7, 1.4),
            ),
            RandomTransform(
                GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_channel=1, synchronize_channels=True), 0.1
            ),
            RandomTransform(
                GaussianBlurTransform(blur_sigma=(0.5, 1.0), benchmark=False, **each | {"p_per_channel": 0.5}), 0.2
            ),
            RandomTransform(MultiplicativeBrightnessTransform(multiplier_range=BGContrast((0.75, 1.25)), **each), 0.15),
            RandomTransform(
                ContrastTransform(contrast_range=BGContrast((0.75, 1.25)), preserve_range=True, **each), 0.15
            ),
            RandomTransform(
                SimulateLowResolutionTransform(
                    scale=(0.5, 1),
                    synchronize_channels=False,
                    synchronize_axes=True,
                    ignore_axes=None,
                    allowed_channels=None,
                    p_per_channel=0.5,
                ),
                0.25,
            ),
            RandomTransform(GammaTransform(p_invert_image=1, **gamma), 0.1),
            RandomTransform(GammaTransform(p_invert_image=0, **gamma), 0.3),
            MirrorTransform((0, 1, 2)),
        ]
    )


@pytest.mark.benchmark(group="one augmented patch")
def bench_a_patch_against_nnunets(benchmark: BenchmarkFixture, case_files: CaseFiles) -> None:
    """A B A B, one thread each; the same number of patches, drawn by chance, by both."""
    theirs = nnunet_transforms()
    config, case = load_recipe("best"), load_training_case(case_files)
    patches = 2 if benchmark.disabled else 40

    def ours() -> None:
        for seed in range(patches):
            patch = draw_patch([case], config, np.random.default_rng(seed))
            augment(patch.array, patch.labels, config.augment, np.random.default_rng(seed))

    def nnunets() -> None:
        for seed in range(patches):
            np.random.seed(seed)  # noqa: NPY002 - its own way
            torch.manual_seed(seed)
            start = (np.array(case.labels.shape) - EDGE) // 2  # its loader cuts the larger box that turning needs
            box = tuple(slice(max(0, edge - 16), edge + EDGE + 16) for edge in start)
            image = case.array[(slice(None), *box)].float()
            theirs(image=image, segmentation=case.labels[box][None].to(torch.int16))  # type: ignore[operator]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ratio = paired_ratio(nnunets, ours, 1 if benchmark.disabled else 3)
        benchmark.extra_info["machine"] = machine_line("one thread")
        benchmark.extra_info["times_as_fast_as_nnunets"] = ratio
        with HighWater() as water:
            benchmark.pedantic(ours, rounds=1)
        benchmark.extra_info["added_bytes"] = water.added_bytes
    finally:
        torch.set_num_threads(threads)
    print(f"{patches} patches of {EDGE}^3: {ratio:.2f} times as fast as nnU-Net's transforms")
