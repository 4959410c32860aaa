from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

pytest.importorskip("cc3d", reason="needs connected-components-3d: pip install 'ssa-fast[evaluate]'")
pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")

from ssa_fast.errors import ShapeError
from ssa_fast.metrics.instances import border, instance_scores
from ssa_fast.metrics.lesion import PENALTY_MM
from ssa_fast.metrics.surface import distances_to
from ssa_fast.volume.nifti import read_labels
from tests.cases import write_nifti

Mask = npt.NDArray[np.bool_]
MM = (1.0, 1.0, 1.0)


def bars(*rows: str) -> Mask:
    """A set of (X, 3, 3) from a string a bar: bar n lies at y and z of n's digits in base three, a cross is a voxel."""
    mask = np.zeros((max(len(row) for row in rows), 5, 5), dtype=bool)
    for row, (y, z) in zip(rows, itertools.product((0, 2, 4), repeat=2), strict=False):
        mask[[place for place, mark in enumerate(row) if mark == "x"], y, z] = True
    return mask


NOTHING = bars("....")


def test_equal_lesions_score_in_full() -> None:
    scores = instance_scores(bars("xx..", "..xx"), bars("xx..", "..xx"), MM)
    assert (scores.dice, scores.nsd, scores.hd95_mm, len(scores.pairs)) == (1, 1, 0, 2)


def test_nothing_against_nothing_scores_in_full() -> None:
    scores = instance_scores(NOTHING, NOTHING, MM)
    assert (scores.dice, scores.nsd, scores.hd95_mm) == (1, 1, 0)


@pytest.mark.parametrize(
    ("reference", "predicted", "missed", "false_alarms"),
    [("xx..", "....", 1, 0), ("....", "xx..", 0, 1), ("x...", "..x.", 1, 1)],
)
def test_lesions_without_a_pair_score_nothing(reference: str, predicted: str, missed: int, false_alarms: int) -> None:
    scores = instance_scores(bars(reference), bars(predicted), MM)
    assert (scores.dice, scores.nsd, scores.hd95_mm) == (0, 0, PENALTY_MM)
    assert (scores.missed, scores.false_alarms) == (missed, false_alarms)


def test_a_missed_lesion_does_not_lower_the_mean_of_the_pairs() -> None:
    scores = instance_scores(bars("xxxx", "xx.."), bars("xxxx", "...."), MM)
    assert (scores.dice, scores.missed, scores.false_alarms) == (1, 1, 0)


def test_a_pair_worked_by_hand() -> None:
    scores = instance_scores(bars("xxxx...."), bars("..xxxxxx"), MM)
    assert scores.dice == pytest.approx(2 * 2 / 10)
    # reference: 2 1 0 0 mm away; prediction: 0 0 1 2 3 4
    assert scores.nsd == pytest.approx((3 / 4 + 3 / 6) / 2)
    assert scores.hd95_mm == pytest.approx(np.percentile([2, 1, 0, 0, 0, 0, 1, 2, 3, 4], 95))


def test_one_part_over_two_lesions_is_paired_with_the_one_it_covers_best() -> None:
    scores = instance_scores(bars("xx.xxxx"), bars("xxxxxxx"), MM)
    assert [pair.dice for pair in scores.pairs] == [pytest.approx(2 * 4 / 11)]
    assert (scores.missed, scores.false_alarms) == (1, 0)


def test_the_border_of_a_block_is_its_outer_layer_also_at_the_border_of_the_array() -> None:
    block = np.ones((4, 5, 6), dtype=bool)
    assert border(block).sum() == 4 * 5 * 6 - 2 * 3 * 4


@settings(max_examples=60)
@given(arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)))
def test_the_border_is_scipy_s_erosion_taken_away(mask: Mask) -> None:
    from scipy import ndimage

    np.testing.assert_array_equal(border(mask), mask ^ ndimage.binary_erosion(mask))


@settings(max_examples=60)
@given(st.data())
def test_pairs_are_the_best_of_all_pairings(data: st.DataObject) -> None:
    shape = (6, 3, 3)
    reference, predicted = (data.draw(arrays(np.bool_, shape)) for _ in range(2))
    from scipy import ndimage

    (ones, rows), (others, columns) = (ndimage.label(mask, np.ones((3, 3, 3))) for mask in (reference, predicted))
    if min(rows, columns) == 0 or max(rows, columns) > 5:
        return
    table = np.zeros((5, 5))
    for row, column in np.ndindex(rows, columns):
        one, other = ones == row + 1, others == column + 1
        table[row, column] = 2 * (one & other).sum() / (one.sum() + other.sum())
    best = max(
        sum(table[row, column] for row, column in enumerate(order)) for order in itertools.permutations(range(5))
    )
    assert sum(pair.dice for pair in instance_scores(reference, predicted, MM).pairs) == pytest.approx(best)


@pytest.mark.filterwarnings("ignore")  # the library's own
def test_every_number_is_that_of_the_official_package(shared_ssa: Path, tmp_path: Path) -> None:
    panoptica = pytest.importorskip("panoptica", reason="needs brats-evaluation to compare")
    official = pytest.importorskip("brats_evaluation", reason="needs brats-evaluation to compare")
    source = shared_ssa / "BraTS-SSA-00010-000" / "BraTS-SSA-00010-000-seg.nii.gz"
    volume = read_labels(source)
    reference = np.asarray(volume.array)
    predicted = np.roll(reference, (2, 1, 0), axis=(0, 1, 2))
    predicted[::9] = 0  # cut into slabs
    predicted[10:14, 10:14, 10:14] = 3  # a false alarm
    path = write_nifti(tmp_path / "p.nii.gz", predicted, volume.affine)
    evaluator = panoptica.Panoptica_Evaluator.load_from_config(str(official.config_path("GoAT")))
    found = official.evaluate_single_exam(str(path), str(source), "case", evaluator)
    for region, labels in {"wt": (1, 2, 3), "tc": (1, 3), "et": (3,)}.items():
        scores = instance_scores(np.isin(reference, labels), np.isin(predicted, labels), MM)
        theirs = found[region]
        counts = [len(scores.pairs), scores.false_alarms, scores.missed]
        assert counts == [theirs["tp"], theirs["fp"], theirs["fn"]]
        assert scores.false_alarms > 0
        assert scores.dice == pytest.approx(theirs["sq_dsc"], abs=1e-6)
        assert scores.nsd == pytest.approx(theirs["sq_nsd"], abs=1e-6)
        assert scores.hd95_mm == pytest.approx(theirs["sq_hd95"], abs=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning:monai")
def test_border_distances_give_monai_s_hd95_and_average(shared_ssa: Path) -> None:
    monai = pytest.importorskip("monai.metrics", reason="needs monai to compare")
    torch = pytest.importorskip("torch")
    labels = np.asarray(read_labels(shared_ssa / "BraTS-SSA-00010-000" / "BraTS-SSA-00010-000-seg.nii.gz").array)
    reference, predicted = labels == 3, np.roll(labels == 3, (3, 1, 0), axis=(0, 1, 2))
    spacing = (1.0, 1.5, 2.0)
    edges = border(reference), border(predicted)
    sides = distances_to(*edges, spacing), distances_to(*edges[::-1], spacing)
    one_hot = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (reference, predicted)]
    given = {"y_pred": one_hot[1], "y": one_hot[0], "include_background": True, "spacing": spacing}
    hd95 = monai.compute_hausdorff_distance(percentile=95, **given)
    average = monai.compute_average_surface_distance(symmetric=True, **given)
    assert max(float(np.percentile(side, 95)) for side in sides) == pytest.approx(float(hd95), rel=1e-6)
    assert float(np.concatenate(sides).mean()) == pytest.approx(float(average), rel=1e-6)


def test_unlike_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="on one grid"):
        instance_scores(NOTHING, NOTHING[:, :1], MM)
