"""Which image is which: all orders of four, and one image given twice."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import find_cases, read_case
from ssa_fast.volume.modality_order import contrasts_of, same_images
from ssa_fast.volume.preprocess import Brain, crop_to_brain, z_score


@pytest.fixture(scope="module", params=["phantom", "BraTS-SSA-00096-000", "BraTS-SSA-00120-000"])
def brain(request: pytest.FixtureRequest) -> Brain:
    """A phantom, and the real cases of the narrowest margins."""
    if request.param == "phantom":
        folder: Path = request.getfixturevalue("phantom_case")
    else:
        folder = request.getfixturevalue("shared_ssa") / request.param
    return crop_to_brain(read_case(find_cases([folder])[0]))


def test_of_all_orders_only_the_right_one_breaks_no_rule(brain: Brain) -> None:
    contrasts = contrasts_of(brain.array, brain.foreground)
    assert contrasts is not None
    orders = list(itertools.permutations(range(4)))
    assert [order for order in orders if not contrasts.broken(order)] == [(0, 1, 2, 3)]
    assert [order for order in orders if not contrasts.broken(order, slack=0)] == [(0, 1, 2, 3)]


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 1, 0)])
def test_a_wrong_order_is_put_right(order: tuple[int, ...], brain: Brain) -> None:
    contrasts = contrasts_of(brain.array[list(order)], brain.foreground)
    assert contrasts is not None
    assert contrasts.broken(range(4))
    assert contrasts.likely_order() == tuple(MODALITIES[place] for place in order)


def test_a_small_brain_is_not_judged() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 60, 60, 60)).astype(np.float32)
    assert contrasts_of(noise, noise[0] != 0) is None


def test_one_image_under_two_names_is_seen_scaled_or_rounded(brain: Brain) -> None:
    assert same_images(brain.array) == []
    doubled = brain.array.copy()
    doubled[3] = np.rint(50 * brain.array[1] + 300) * brain.foreground
    z_score(doubled[3])
    assert same_images(doubled) == [("t1c", "t2f")]
