"""Cases that no file gives away: headers, skulls, doubled, swapped and displaced images."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ssa_fast.volume.case import Case, find_cases, read_case
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.preprocess import crop_to_brain
from ssa_fast.volume.sanity import Suspicion, suspicions
from tests.cases import ball_case


@pytest.fixture
def case(whole_case: Path) -> Case:
    return read_case(find_cases([whole_case])[0])


def _found(case: Case) -> list[Suspicion]:
    return suspicions(case, crop_to_brain(case))


def _altered(case: Case, alter: Callable[[FloatArray, int], FloatArray]) -> Case:
    volumes = [
        dataclasses.replace(volume, array=alter(np.asarray(volume.array, dtype=np.float32), place))
        for place, volume in enumerate(case.volumes)
    ]
    return dataclasses.replace(case, volumes=tuple(volumes))


def test_a_sound_case_is_not_suspected(case: Case) -> None:
    assert _found(case) == []


def test_swapped_images_are_named_with_the_order_that_they_look_like(case: Case) -> None:
    swapped = dataclasses.replace(case, volumes=tuple(case.volumes[place] for place in (3, 1, 2, 0)))
    [found] = [one for one in _found(swapped) if one.check == "order"]
    assert "the images given as t1n t1c t2w t2f look like t2f t1c t2w t1n: check which" in str(found)


def test_one_image_in_two_files_is_one_line_and_nothing_else(case: Case) -> None:
    doubled = dataclasses.replace(case, volumes=(*case.volumes[:2], case.volumes[0], case.volumes[3]))
    assert [str(one) for one in _found(doubled)] == ["t1n and t2w are the same image: give each its own"]


def test_an_image_that_moved_with_its_mask_is_seen(case: Case) -> None:
    moved = _altered(case, lambda image, place: np.roll(image, 8 if place == 1 else 0, axis=0))
    assert [one.check for one in _found(moved)] == ["alignment"]


def test_an_image_of_half_a_brain_is_seen(case: Case) -> None:
    half = _altered(case, lambda image, place: image * (np.arange(image.shape[0])[:, None, None] > 120 * (place == 2)))
    [found] = [one for one in _found(half) if one.check == "alignment"]
    assert "t2w shares at most" in found.seen


def _head(image: FloatArray, _: int) -> FloatArray:
    """A bright shell of 12 voxels around the brain's box, all else filled with a dim one."""
    inside = np.argwhere(image != 0)
    middle = inside.mean(axis=0)
    grid = np.meshgrid(*(np.arange(edge) - at for edge, at in zip(image.shape, middle, strict=True)), indexing="ij")
    half = np.ptp(inside, axis=0) / 2 + 6
    radius = sum((axis / edge) ** 2 for axis, edge in zip(grid, half, strict=True))
    return np.where(image != 0, image, np.where(radius < 1.2, 500, 0)).astype(np.float32)


def _shell(image: FloatArray, place: int) -> FloatArray:
    """The same with nothing between the brain and a shell of some 3 voxels."""
    outer, inner = _head(image, place), image
    thick = outer != 0
    for axis in range(3):
        thick = thick & np.roll(outer != 0, 3, axis) & np.roll(outer != 0, -3, axis)
    return np.where(inner != 0, inner, np.where(thick, 0, outer)).astype(np.float32)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda image, _: image + 10, "the background of t1n t1c t2w t2f is not zero"),
        (lambda image, place: image + 10 * (place == 1), "the background of t1c is not zero"),
        (_head, "ml are not zero, more than any brain has"),
        (_shell, "zeros lie within what is not zero|what is not zero spans"),
    ],
)
def test_a_head_that_is_not_stripped_is_seen(
    alter: Callable[[FloatArray, int], FloatArray], words: str, case: Case
) -> None:
    [found] = _found(_altered(case, alter))
    assert found.check == "skull"
    assert re.search(words, found.seen)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ((0, 0), "the header of t2w has neither qform nor sform, so left and right are a guess"),
        ((1, 1), "the qform of t2w runs LAS, its sform RAS"),
        ((0, 1), None),
        ((1, 0), None),
    ],
)
def test_headers_that_leave_left_and_right_open(codes: tuple[int, int], words: str | None) -> None:
    case, _ = ball_case((1, 1, 1))
    image = nibabel.Nifti1Image(np.asarray(case.grid.array), np.eye(4))
    image.set_sform(np.eye(4), code=codes[1])
    image.set_qform(np.diag([-1.0, 1, 1, 1]), code=codes[0])
    volumes = list(case.volumes)
    volumes[2] = dataclasses.replace(volumes[2], header=image.header)
    found = _found(dataclasses.replace(case, volumes=tuple(volumes)))
    assert [one.seen for one in found] == ([words] if words else [])


def test_a_small_made_up_brain_is_not_judged_by_contrast() -> None:
    case, _ = ball_case((1, 1, 1))
    assert _found(case) == []
