"""Training cases in memory, and the patches drawn from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ssa_fast.errors import CaseError
from ssa_fast.labels import LABELS, MODALITIES
from ssa_fast.prepare.patches import cut_box
from ssa_fast.prepare.prepared import PreparedCase
from ssa_fast.train.config import AugmentConfig, TrainConfig
from ssa_fast.train.transplant import cut_graft, transplanted
from ssa_fast.volume.case import CaseFiles, read_case, read_reference
from ssa_fast.volume.geometry import LabelArray, bounding_box
from ssa_fast.volume.phantom import make_phantom
from ssa_fast.volume.preprocess import crop_to_brain, z_score

__all__ = ["Patch", "TrainingCase", "draw_patch", "load_training_case", "phantom_training_case"]

_KEPT_VOXELS = 20_000  # a label: enough to center patches on, without a list of 200,000


@dataclass(frozen=True, kw_only=True)
class TrainingCase:
    """A brain and its reference labels, and where each label is."""

    name: str
    array: Tensor  # (C, X, Y, Z) float16, z-scored, zero outside the brain
    labels: Tensor  # (X, Y, Z) uint8
    voxels: Mapping[int, npt.NDArray[np.int64]]  # label -> (n, 3) places of some of its voxels
    is_phantom: bool = False


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A part of a training case, and where it was taken from."""

    case: str
    center: tuple[int, int, int]  # voxel of the cropped brain
    array: Tensor  # (C, X, Y, Z) float32
    labels: Tensor  # (X, Y, Z) int64


def load_training_case(files: CaseFiles) -> TrainingCase:
    """A case with its reference, cropped to the brain and normalized; mapped from the disk if it is a prepared one.

    float16 halves the memory; its rounding, 1/2048 of a value, is far below the images' noise.
    Raises CaseError if the case or its reference cannot be used.
    """
    if isinstance(files, PreparedCase):
        return _training_case(files.name, *files.arrays())
    if files.reference is None:
        raise CaseError(f"case {files.name}: no reference segmentation in {files.folder}: add {files.name}-seg.nii.gz")
    case = read_case(files)
    brain = crop_to_brain(case)
    labels = np.ascontiguousarray(read_reference(files, case)[brain.box.slices])
    return _training_case(files.name, brain.array.astype(np.float16), labels)


def phantom_training_case(seed: int, index: int) -> TrainingCase:
    """Phantom `index` of the series that `seed` names, as a case to train on. Takes a few seconds."""
    phantom = make_phantom(seed, index)
    volumes = np.stack([phantom.modalities[modality] for modality in MODALITIES])  # (C, X, Y, Z)
    box = bounding_box((volumes != 0).any(axis=0))
    array = np.stack([np.ascontiguousarray(volume[box.slices]) for volume in volumes])
    for channel in array:
        z_score(channel)
    labels = np.ascontiguousarray(phantom.labels[box.slices])
    return dataclasses.replace(_training_case(phantom.name, array.astype(np.float16), labels), is_phantom=True)


def _training_case(name: str, array: npt.NDArray[np.float16], labels: LabelArray) -> TrainingCase:
    rng = np.random.default_rng(0)  # which voxels are kept must not depend on the run
    voxels = {}
    for label in LABELS:
        places = np.argwhere(labels == label)
        if len(places):
            voxels[label] = rng.permutation(places)[:_KEPT_VOXELS]
    return TrainingCase(
        name=name,
        array=torch.from_numpy(array),
        labels=torch.from_numpy(labels),
        voxels=voxels,
    )


def draw_patch(cases: Sequence[TrainingCase], config: TrainConfig, rng: np.random.Generator) -> Patch:
    """A random patch of a random case, turned and scaled by chance.

    A share of `config.tumor_share` is centered on a voxel of a label chosen evenly among those that the case
    has, so that a small necrosis is seen as often as a large oedema. The rest lie anywhere in the brain's box.
    """
    case = _draw_case(cases, config, rng)
    shape = np.array(case.labels.shape)
    if case.voxels and rng.random() < config.tumor_share:
        places = case.voxels[int(rng.choice(sorted(case.voxels)))]
        center = places[rng.integers(len(places))].astype(np.float64)
        center += rng.uniform(-0.25, 0.25, 3) * config.patch  # the label anywhere in the middle half
    else:
        center = rng.uniform(0, 1, 3) * shape
    half = np.array(config.patch) / 2
    center = np.where(shape > 2 * half, np.clip(center, half, np.maximum(shape - half, half)), shape / 2)
    if rng.random() < config.augment.affine:
        array, labels = _turned_patch(case, config.patch, center, _random_matrix(config.augment, rng))
    else:
        start = np.round(center - half).astype(int)
        array = _crop(case.array, start, config.patch).float()
        labels = _crop(case.labels[None], start, config.patch)[0].long()
    if config.augment.transplant and rng.random() < config.augment.transplant:  # drawn last: the rest is as without it
        array, labels = _with_another_tumor(array, labels, [other for other in cases if other is not case], rng)
    x, y, z = (round(place) for place in center)
    return Patch(case=case.name, center=(x, y, z), array=array, labels=labels)


def _with_another_tumor(
    array: Tensor, labels: Tensor, others: Sequence[TrainingCase], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A patch with the tumor of one of the other cases in it, where there is one with a tumor, and room for it."""
    donors = [case for case in others if case.voxels]
    if not donors:
        return array, labels
    donor = donors[int(rng.integers(len(donors)))]
    graft = cut_graft(donor.array.numpy(), donor.labels.numpy(), donor.voxels, rng)
    changed = None if graft is None else transplanted(array.numpy(), labels.numpy(), graft, rng)
    return (array, labels) if changed is None else (torch.from_numpy(changed[0]), torch.from_numpy(changed[1]))


def _draw_case(cases: Sequence[TrainingCase], config: TrainConfig, rng: np.random.Generator) -> TrainingCase:
    """Any case; where there are phantoms beside real ones, a phantom for `config.phantom_share` of the patches."""
    phantoms = [case for case in cases if case.is_phantom]
    if 0 < len(phantoms) < len(cases):
        is_made_up = rng.random() < config.phantom_share
        cases = phantoms if is_made_up else [case for case in cases if not case.is_phantom]
    return cases[int(rng.integers(len(cases)))]


def _turned_patch(
    case: TrainingCase, patch: Sequence[int], center: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64]
) -> tuple[Tensor, Tensor]:
    """The patch whose voxel p shows the case at center + matrix (p - middle): linear for images, nearest for labels."""
    reach = np.abs(matrix) @ (np.array(patch) / 2)  # half the box that the turned patch touches
    start = np.floor(center - reach).astype(int) - 1
    size = np.ceil(center + reach).astype(int) + 2 - start
    source = _crop(case.array, start, size).float()[None]
    labels = _crop(case.labels[None], start, size).float()[None]
    # grid_sample counts from -1 to 1 over the source, last axis first; voxel centers are at +0.5
    scale = 2 / size
    middle = (center - start) * scale - 1
    to_unit = matrix * (np.array(patch) / 2)[None, :] * scale[:, None]
    theta = np.concatenate([to_unit[::-1, ::-1], middle[::-1, None]], axis=1)
    grid = functional.affine_grid(torch.tensor(theta[None], dtype=torch.float32), [1, 1, *patch], align_corners=False)
    turned = functional.grid_sample(source, grid, mode="bilinear", align_corners=False)[0]
    turned_labels = functional.grid_sample(labels, grid, mode="nearest", align_corners=False)[0, 0]
    return turned, turned_labels.round().long()


def _random_matrix(config: AugmentConfig, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A random rotation about all three axes, times one scale: (3, 3)."""
    matrix = np.eye(3)
    for axis, degrees in enumerate(rng.uniform(-1, 1, 3) * config.rotation_degrees):
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = np.eye(3)
        first, second = [other for other in range(3) if other != axis]
        turn[first, first] = turn[second, second] = cosine
        turn[first, second], turn[second, first] = -sine, sine
        matrix = matrix @ turn
    return matrix * float(np.exp(rng.uniform(-1, 1) * math.log(config.scaling)))


def _crop(array: Tensor, start: npt.NDArray[np.int64], size: Sequence[int] | npt.NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(cut_box(array.numpy(), [int(edge) for edge in start], [int(edge) for edge in size]))
