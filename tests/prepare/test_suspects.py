"""Swapped modalities and repeat patients: found where they are, on phantoms and on a real case."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from ssa_fast.labels import MODALITIES
from ssa_fast.prepare.suspects import ALIKE, Likeness, likeness, suspected_repeats, suspected_swap
from ssa_fast.volume.case import find_cases, read_case, read_reference
from ssa_fast.volume.geometry import Box, FloatArray, LabelArray, bounding_box
from ssa_fast.volume.phantom import make_phantom
from ssa_fast.volume.preprocess import Brain, crop_to_brain, z_score

PAIRS = list(combinations(range(len(MODALITIES)), 2))


def brain_of(array: FloatArray) -> Brain:
    """The brain in (C, X, Y, Z), cropped and z-scored."""
    foreground = (array != 0).any(axis=0)
    box = bounding_box(foreground)
    cut = np.ascontiguousarray(array[(slice(None), *box.slices)], dtype=np.float32)
    for channel in cut:
        z_score(channel)
    x, y, z = box.shape
    return Brain(array=cut, foreground=foreground[box.slices], box=Box((0, 0, 0), (x, y, z)), ras_shape=(x, y, z))


@pytest.fixture(scope="module")
def phantom() -> tuple[Brain, LabelArray]:
    made = make_phantom(3)
    array = np.stack([made.modalities[modality] for modality in MODALITIES])
    box = bounding_box((array != 0).any(axis=0))
    return brain_of(array), made.labels[box.slices]


@pytest.fixture(scope="module")
def real(shared_ssa: Path) -> tuple[Brain, LabelArray]:
    files = find_cases([shared_ssa])[0]
    case = read_case(files)
    brain = crop_to_brain(case)
    return brain, read_reference(files, case)[brain.box.slices]


def swapped(brain: Brain, one: int, other: int) -> Brain:
    order = list(range(len(MODALITIES)))
    order[one], order[other] = other, one
    return dataclasses.replace(brain, array=brain.array[order])


@pytest.mark.parametrize("which", ["phantom", "real"])
def test_every_swap_of_two_modalities_is_suspected_and_named_and_the_right_order_is_not(
    which: str, request: pytest.FixtureRequest
) -> None:
    brain, labels = request.getfixturevalue(which)
    assert suspected_swap(brain, labels) is None
    for one, other in PAIRS:
        swap = suspected_swap(swapped(brain, one, other), labels)
        assert swap is not None, (one, other)
        assert swap.broken
        assert swap.mends == ((MODALITIES[one], MODALITIES[other]),)


@pytest.mark.parametrize("which", ["phantom", "real"])
def test_every_swap_is_suspected_and_mended_without_labels_too(which: str, request: pytest.FixtureRequest) -> None:
    brain, labels = request.getfixturevalue(which)
    for nothing in (None, np.zeros_like(labels)):
        assert suspected_swap(brain, nothing) is None
        for one, other in PAIRS:
            swap = suspected_swap(swapped(brain, one, other), nothing)
            assert swap is not None, (one, other)
            assert swap.mends == ((MODALITIES[one], MODALITIES[other]),)


def test_in_a_brain_too_small_for_its_contrast_labels_still_tell(phantom: tuple[Brain, LabelArray]) -> None:
    brain, labels = phantom
    small = dataclasses.replace(brain, array=brain.array[:, ::2, ::2, ::2], foreground=brain.foreground[::2, ::2, ::2])
    assert suspected_swap(small, labels[::2, ::2, ::2]) is None
    assert suspected_swap(swapped(small, 0, 1), None) is None
    swap = suspected_swap(swapped(small, 0, 1), labels[::2, ::2, ::2])
    assert swap is not None
    assert swap.broken == ("the enhancing tumour is not brighter on t1c than on t1n",)


def _noisy_and_moved(brain: Brain) -> Brain:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.3, brain.array.shape).astype(np.float32)
    shading = np.linspace(0.8, 1.2, brain.array.shape[2], dtype=np.float32)[:, None]
    array = (brain.array + 5 + noise) * shading * brain.foreground
    return brain_of(np.pad(array, ((0, 0), (9, 2), (0, 3), (4, 4)))[:, :, 3:, :-6])  # cut in front and above, too


@pytest.mark.parametrize("which", ["phantom", "real"])
def test_a_brain_is_like_itself_with_other_noise_shading_and_cropping(
    which: str, request: pytest.FixtureRequest
) -> None:
    brain, _ = request.getfixturevalue(which)
    brains = {"a": likeness(brain), "b": likeness(_noisy_and_moved(brain))}
    (repeat,) = suspected_repeats(brains)
    assert repeat.cases == ("a", "b")
    assert repeat.correlation > ALIKE + 0.1
    assert not repeat.same_name


def test_brains_of_two_patients_are_not_alike(phantom: tuple[Brain, LabelArray]) -> None:
    made = make_phantom(3, index=1)
    other = brain_of(np.stack([made.modalities[modality] for modality in MODALITIES]))
    assert suspected_repeats({"a": likeness(phantom[0]), "b": likeness(other)}) == []


def test_two_visits_of_one_number_are_a_repeat_whatever_they_look_like() -> None:
    rows = np.eye(3, dtype=np.float32)[:, None, :]
    names = ("BraTS-SSA-00002-000", "BraTS-SSA-00002-001", "BraTS-SSA-00003-000")
    brains = {name: Likeness(rows=row) for name, row in zip(names, rows, strict=True)}
    (repeat,) = suspected_repeats(brains)
    assert repeat.cases == names[:2]
    assert repeat.same_name
    assert repeat.correlation == 0


@pytest.mark.parametrize(
    "names", [("Case-0", "Case-1"), ("BraTS2021_00001", "BraTS2021_00002"), ("a-12-000", "a-12-001")]
)
def test_names_of_other_kinds_say_nothing(names: tuple[str, str]) -> None:
    rows = np.eye(2, dtype=np.float32)[:, None, :]
    assert suspected_repeats({name: Likeness(rows=row) for name, row in zip(names, rows, strict=True)}) == []


def test_a_brain_of_one_value_is_like_no_other() -> None:
    array = np.ones((4, 20, 20, 20), dtype=np.float32)
    flat = Brain(array=array, foreground=array[0] != 0, box=Box((0, 0, 0), (20, 20, 20)), ras_shape=(20, 20, 20))
    assert suspected_repeats({"a": likeness(flat), "b": likeness(flat)}) == []
