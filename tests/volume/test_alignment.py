"""Images that do not lie on each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssa_fast.labels import MODALITIES
from ssa_fast.volume.alignment import misfits
from ssa_fast.volume.case import find_cases, read_case
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.preprocess import crop_to_brain


@pytest.fixture(scope="module", params=["phantom", "BraTS-SSA-00007-000"])
def brain(request: pytest.FixtureRequest) -> FloatArray:
    """A phantom, and the real case whose images lie the least well on each other."""
    if request.param == "phantom":
        folder: Path = request.getfixturevalue("phantom_case")
    else:
        folder = request.getfixturevalue("shared_ssa") / request.param
    return crop_to_brain(read_case(find_cases([folder])[0])).array


def _with(brain: FloatArray, place: int, image: FloatArray) -> FloatArray:
    altered = brain.copy()
    altered[place] = image * (brain[place] != 0)  # under the mask that all share
    return altered


def test_images_of_a_sound_case_lie_on_each_other(brain: FloatArray) -> None:
    assert misfits(brain) == []


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("axis", range(3))
def test_an_image_that_is_8_mm_off_is_named(place: int, axis: int, brain: FloatArray) -> None:
    [misfit] = misfits(_with(brain, place, np.roll(brain[place], 8, axis)))
    assert misfit.modality == MODALITIES[place]
    assert "better when it is moved" in misfit.seen


@pytest.mark.parametrize("place", range(4))
def test_an_image_that_is_mirrored_is_named(place: int, brain: FloatArray) -> None:
    [misfit] = misfits(_with(brain, place, brain[place, ::-1]))
    assert misfit.seen == f"{MODALITIES[place]} fits the other images better mirrored left to right"


def test_an_image_of_something_else_fits_nowhere(brain: FloatArray) -> None:
    [misfit] = misfits(_with(brain, 2, brain[2, :, ::-1]))
    assert misfit.modality == "t2w"


def test_all_four_mirrored_cannot_be_known(brain: FloatArray) -> None:
    assert misfits(np.ascontiguousarray(brain[:, ::-1])) == []


def test_a_small_brain_is_not_judged() -> None:
    assert misfits(np.random.default_rng(0).normal(size=(4, 40, 40, 40)).astype(np.float32)) == []
