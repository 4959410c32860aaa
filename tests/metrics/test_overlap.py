from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ssa_fast.errors import ShapeError
from ssa_fast.metrics.overlap import TARGETS, Overlap, confusion, overlaps

Labels = npt.NDArray[np.uint8]

SHAPES = array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5)
LABELS = st.integers(0, 3)
UNHURRIED = settings(deadline=None)  # a busy machine is no failure


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[Labels, Labels]:
    shape = draw(SHAPES)
    one, other = (draw(arrays(np.uint8, shape, elements=LABELS)) for _ in range(2))
    return one, np.asfortranarray(other)  # as a file's array lies in memory


def picture(text: str) -> Labels:
    """A (X, Y, 1) label array from rows of digits; a dot is background."""
    rows = text.split()
    return np.array([[int(digit.replace(".", "0")) for digit in row] for row in rows], dtype=np.uint8)[..., np.newaxis]


REFERENCE = picture("""
    .22.
    2133
    2133
    .22.
""")
PREDICTION = picture("""
    ..22
    .213
    .213
    ..22
""")


def test_confusion_counts_the_reference_in_rows_and_the_prediction_in_columns() -> None:
    expected = [
        [2, 0, 2, 0],  # background: two corners missed, two found
        [0, 0, 2, 0],  # NCR, all called ED
        [4, 0, 2, 0],  # ED: the left column and one of each pair lost
        [0, 2, 0, 2],  # ET: half called NCR
    ]
    np.testing.assert_array_equal(confusion(REFERENCE, PREDICTION), expected)


@pytest.mark.parametrize(
    ("target", "both", "reference", "predicted"),
    [("NCR", 0, 2, 2), ("ED", 2, 6, 6), ("ET", 2, 4, 2), ("WT", 8, 12, 10), ("TC", 4, 6, 4)],
)
def test_overlaps_of_a_picture_counted_by_hand(target: str, both: int, reference: int, predicted: int) -> None:
    neither = 16 - reference - predicted + both
    expected = Overlap(both=both, reference=reference, predicted=predicted, neither=neither)
    assert overlaps(REFERENCE, PREDICTION)[target] == expected


def test_scores_of_a_picture_worked_by_hand() -> None:
    core = overlaps(REFERENCE, PREDICTION)["TC"]
    assert core.dice == pytest.approx(2 * 4 / 10)
    assert core.precision == pytest.approx(4 / 4)
    assert core.recall == pytest.approx(4 / 6)
    assert core.f1 == core.dice
    assert core.iou == pytest.approx(4 / 6)
    assert core.specificity == pytest.approx(10 / 10)
    whole = overlaps(REFERENCE, PREDICTION)["WT"]
    assert whole.iou == pytest.approx(8 / 14)
    assert whole.specificity == pytest.approx(2 / 4)


def test_empty_against_empty_is_one() -> None:
    empty = Overlap(both=0, reference=0, predicted=0, neither=9)
    assert (empty.dice, empty.precision, empty.recall, empty.f1, empty.iou, empty.specificity) == (1, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(("reference", "predicted"), [(5, 0), (0, 5)])
def test_empty_against_something_is_zero(reference: int, predicted: int) -> None:
    one_sided = Overlap(both=0, reference=reference, predicted=predicted, neither=20)
    scores = (one_sided.dice, one_sided.precision, one_sided.recall, one_sided.f1, one_sided.iou)
    assert scores == (0, 0, 0, 0, 0)
    assert one_sided.specificity == 20 / (20 + predicted)


def test_specificity_of_a_reference_that_fills_the_image_is_zero() -> None:
    assert Overlap(both=4, reference=9, predicted=4, neither=0).specificity == 0


def naive_scores(reference: Labels, predicted: Labels, labels: tuple[int, ...]) -> tuple[float, float, float]:
    a = {voxel for voxel, label in np.ndenumerate(reference) if label in labels}
    b = {voxel for voxel, label in np.ndenumerate(predicted) if label in labels}
    if not a and not b:
        return 1.0, 1.0, 1.0
    return 2 * len(a & b) / (len(a) + len(b)), len(a & b) / max(len(b), 1), len(a & b) / max(len(a), 1)


@UNHURRIED
@given(label_pairs())
def test_scores_match_a_naive_version(pair: tuple[Labels, Labels]) -> None:
    for target, overlap in overlaps(*pair).items():
        scores = (overlap.dice, overlap.precision, overlap.recall)
        assert scores == pytest.approx(naive_scores(*pair, TARGETS[target]), abs=1e-12)
        assert overlap.iou == pytest.approx(overlap.dice / (2 - overlap.dice), abs=1e-12)
        one, other = (np.isin(labels, TARGETS[target]) for labels in pair)
        assert overlap.neither == np.count_nonzero(~one & ~other)


@UNHURRIED
@given(label_pairs())
def test_dice_is_symmetric_and_precision_is_recall_the_other_way(pair: tuple[Labels, Labels]) -> None:
    one, other = pair
    there, back = overlaps(one, other), overlaps(other, one)
    for target in TARGETS:
        assert there[target].dice == back[target].dice
        assert there[target].precision == back[target].recall


@UNHURRIED
@given(label_pairs())
def test_scores_are_bounded(pair: tuple[Labels, Labels]) -> None:
    for overlap in overlaps(*pair).values():
        assert all(0 <= score <= 1 for score in (overlap.dice, overlap.precision, overlap.recall))


@UNHURRIED
@given(arrays(np.uint8, SHAPES, elements=LABELS))
def test_scores_of_equal_labels_are_one(labels: Labels) -> None:
    for overlap in overlaps(labels, labels.copy()).values():
        assert (overlap.dice, overlap.precision, overlap.recall) == (1, 1, 1)


@UNHURRIED
@given(label_pairs())
def test_confusion_holds_every_voxel_once(pair: tuple[Labels, Labels]) -> None:
    assert confusion(*pair).sum() == pair[0].size


def test_unlike_shapes_are_refused_even_where_they_would_broadcast() -> None:
    with pytest.raises(ShapeError, match=re.escape("reference is (4, 4, 1), prediction (4, 1, 1)")):
        confusion(REFERENCE, PREDICTION[:, :1])


@pytest.mark.parametrize("swapped", [False, True])
def test_a_label_above_three_is_refused_and_not_folded_into_another(swapped: bool) -> None:
    old_style = np.where(REFERENCE == 3, 4, REFERENCE).astype(np.uint8)
    pair = (PREDICTION, old_style) if swapped else (old_style, PREDICTION)
    with pytest.raises(ShapeError, match="labels go up to 4, wanted at most 3"):
        confusion(*pair)
