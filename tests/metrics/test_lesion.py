from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cc3d", reason="needs connected-components-3d: pip install 'ssa-fast[evaluate]'")
pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")

from ssa_fast.errors import ShapeError
from ssa_fast.metrics.lesion import PENALTY_MM, LesionScores, lesion_scores
from ssa_fast.metrics.surface import surface_distances

Mask = npt.NDArray[np.bool_]
MM = (1.0, 1.0, 1.0)
SHAPE = (40, 16, 12)


def blocks(*places: tuple[int, int, int], edge: int = 4) -> Mask:
    """Cubes of `edge` voxels that begin at the places: 64 mm3 if it is 4."""
    mask = np.zeros(SHAPE, dtype=bool)
    for place in places:
        mask[tuple(slice(start, start + edge) for start in place)] = True
    return mask


NOTHING = blocks()
ONE = blocks((2, 4, 4))


def test_the_same_lesion_scores_in_full() -> None:
    scores = lesion_scores(ONE, ONE, MM)
    assert (scores.dice, scores.hd95_mm) == (1, 0)
    assert (scores.found, scores.missed, scores.false_alarms) == (1, 0, 0)


def test_nothing_against_nothing_scores_in_full() -> None:
    scores = lesion_scores(NOTHING, NOTHING, MM)
    assert (scores.dice, scores.hd95_mm, scores.found, scores.missed, scores.false_alarms) == (1, 0, 0, 0, 0)


def test_a_missed_lesion_has_dice_zero_and_the_penalty() -> None:
    scores = lesion_scores(ONE, NOTHING, MM)
    assert (scores.dice, scores.hd95_mm, scores.found, scores.missed) == (0, PENALTY_MM, 0, 1)


def test_a_false_alarm_counts_at_any_size() -> None:
    speck = blocks((30, 4, 4), edge=1)
    alone = lesion_scores(NOTHING, speck, MM)
    assert (alone.dice, alone.hd95_mm, alone.false_alarms) == (0, PENALTY_MM, 1)
    beside = lesion_scores(ONE, ONE | speck, MM)
    assert (beside.dice, beside.hd95_mm, beside.false_alarms) == (1 / 2, PENALTY_MM / 2, 1)


def test_a_lesion_of_fifty_mm3_is_not_scored_and_one_of_more_is() -> None:
    fifty = np.zeros(SHAPE, dtype=bool)
    fifty[2:7, 4:9, 4:6] = True
    missed = lesion_scores(fifty, NOTHING, MM)
    assert (missed.dice, missed.hd95_mm, missed.missed) == (1, 0, 0)
    assert lesion_scores(fifty, NOTHING, (1.01, 1.0, 1.0)).missed == 1


def test_what_touches_a_small_lesion_is_no_false_alarm() -> None:
    small = blocks((30, 4, 4), edge=2)
    scores = lesion_scores(ONE | small, ONE | small, MM)
    assert (scores.dice, scores.found, scores.false_alarms) == (1, 1, 0)


@pytest.mark.parametrize(("gap", "lesions"), [(6, 1), (7, 2)])
def test_lesions_that_touch_once_each_is_grown_by_three_are_one(gap: int, lesions: int) -> None:
    reference = blocks((2, 4, 4), (6 + gap, 4, 4))
    assert len(lesion_scores(reference, reference, MM).lesions) == lesions


@pytest.mark.parametrize(("gap", "found"), [(2, 1), (3, 0)])
def test_a_part_is_of_a_lesion_that_it_touches_once_that_is_grown_by_three(gap: int, found: int) -> None:
    scores = lesion_scores(ONE, blocks((6 + gap, 4, 4)), MM)
    assert scores.found == found
    assert scores.false_alarms == 1 - found
    assert scores.dice == 0


def test_one_part_over_two_lesions_serves_both() -> None:
    reference = blocks((2, 4, 4), (20, 4, 4))
    bridge = reference.copy()
    bridge[2:24, 5:7, 5:7] = True
    scores = lesion_scores(reference, bridge, MM)
    size = bridge.sum()
    assert [lesion.dice for lesion in scores.lesions] == [pytest.approx(2 * 64 / (64 + size))] * 2
    assert scores.false_alarms == 0


def test_a_lesion_is_compared_with_all_parts_that_touch_it() -> None:
    halves = ONE.copy()
    halves[4] = False  # two parts, one plane apart
    scores = lesion_scores(ONE, halves, MM)
    assert scores.dice == pytest.approx(2 * 48 / (64 + 48))
    assert scores.hd95_mm == surface_distances(ONE, halves, MM).hausdorff_mm()


def naive_scores(reference: Mask, predicted: Mask, spacing: tuple[float, float, float]) -> LesionScores:
    """The same rules on whole arrays, by scipy alone and with no box."""
    from scipy import ndimage

    from ssa_fast.metrics.lesion import Lesion

    touch, grown = np.ones((3, 3, 3)), ndimage.generate_binary_structure(3, 2)
    numbers, count = ndimage.label(ndimage.binary_dilation(reference, grown, iterations=3), touch)
    parts, total = ndimage.label(predicted, touch)
    lesions, touched = [], set()
    for number in range(1, count + 1):
        lesion = (numbers == number) & reference
        mine = set(np.unique(parts[ndimage.binary_dilation(lesion, grown, iterations=3)])) - {0}
        touched |= mine
        found = np.isin(parts, list(mine))
        if lesion.sum() * np.prod(spacing) <= 50:
            continue
        dice = 2 * (lesion & found).sum() / (lesion.sum() + found.sum())
        hd95 = surface_distances(lesion, found, spacing).hausdorff_mm() if mine else 374.0
        volume = float(lesion.sum() * np.prod(spacing))
        lesions.append(Lesion(volume_mm3=volume, is_found=bool(mine), dice=dice, hd95_mm=hd95))
    return LesionScores(lesions=tuple(lesions), false_alarms=total - len(touched))


PLACES = st.lists(st.tuples(st.integers(0, 37), st.integers(0, 13), st.integers(0, 9)), max_size=5)


@settings(max_examples=60)
@given(PLACES, PLACES, st.integers(1, 6), st.integers(1, 6), st.sampled_from([MM, (1.0, 2.0, 0.75)]))
def test_scores_match_a_naive_version(
    places: list[tuple[int, int, int]],
    others: list[tuple[int, int, int]],
    edge: int,
    other_edge: int,
    spacing: tuple[float, float, float],
) -> None:
    reference, predicted = blocks(*places, edge=edge), blocks(*others, edge=other_edge)
    found, expected = lesion_scores(reference, predicted, spacing), naive_scores(reference, predicted, spacing)
    assert found.false_alarms == expected.false_alarms
    assert sorted(lesion.dice for lesion in found.lesions) == pytest.approx(sorted(x.dice for x in expected.lesions))
    assert found.dice == pytest.approx(expected.dice)
    assert found.hd95_mm == pytest.approx(expected.hd95_mm)
    assert (found.found, found.missed) == (expected.found, expected.missed)


def test_a_real_case_moved_matches_the_naive_version(shared_ssa: Path) -> None:
    from ssa_fast.volume.nifti import read_labels

    labels = np.asarray(read_labels(shared_ssa / "BraTS-SSA-00002-000" / "BraTS-SSA-00002-000-seg.nii.gz").array)
    reference = labels == 3
    predicted = np.roll(reference, (3, -2, 1), axis=(0, 1, 2))
    predicted[100:] &= np.random.default_rng(0).random(predicted[100:].shape) < 0.7
    predicted[10:14, 10:14, 10:14] = True  # far from all lesions
    found, expected = lesion_scores(reference, predicted, MM), naive_scores(reference, predicted, MM)
    assert expected.false_alarms > 0
    assert (found.dice, found.hd95_mm) == pytest.approx((expected.dice, expected.hd95_mm), abs=1e-12)
    assert found.false_alarms == expected.false_alarms


def test_unlike_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="on one grid"):
        lesion_scores(ONE, ONE[:, :, :1], MM)
