"""Maps beside the labels: in place, adding up, bounded in memory, and only where they were asked for."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.maps import VoteArrays
from ssa_fast.infer.plan import Wish
from ssa_fast.infer.quality import Quality
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.labels import REGIONS
from ssa_fast.volume.case import Case, find_cases, read_case
from ssa_fast.volume.geometry import pad_to_multiple, to_orientation
from ssa_fast.volume.preprocess import crop_to_brain
from ssa_fast.volume.probabilities import entropy, softmax
from tests.cases import ORIENTATIONS, ball_case, turned_affine, write_case
from tests.infer.fakes import BrightnessBackend, SidedBackend

ASKED = Quality(probabilities=True)


def _case(folder: Path, axes: str = "RAS") -> Case:
    return read_case(find_cases([write_case(folder, "Case-001", affine=turned_affine(axes, (3, -5, 7)))])[0])


@pytest.mark.parametrize("axes", ORIENTATIONS[::7])
def test_probabilities_are_the_networks_in_the_axes_of_the_file(axes: str, tmp_path: Path) -> None:
    case = _case(tmp_path, axes)
    segmentation = Segmenter(SidedBackend(), quality=ASKED).segment(case)
    brain = crop_to_brain(case)
    padded, inner = pad_to_multiple(brain.array, SidedBackend().spec.divisor)
    shares = softmax(SidedBackend().logits(padded[None])[0])
    wanted = np.zeros((4, *brain.ras_shape), dtype=np.float32)
    wanted[0] = 1
    for label in range(4):
        wanted[label][brain.box.slices] = np.where(brain.foreground, shares[label][inner.slices], label == 0)
    wanted = np.stack([to_orientation(one, case.grid.affine) for one in wanted])
    found = segmentation.probabilities
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=3e-4)  # kept as float16
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-3)
    is_clear = np.sort(found, axis=0)[-1] - np.sort(found, axis=0)[-2] > 1e-3
    np.testing.assert_array_equal(found.argmax(axis=0)[is_clear], segmentation.labels[is_clear])


def test_windows_give_the_probabilities_of_one_pass(tmp_path: Path) -> None:
    case = _case(tmp_path)
    whole = Segmenter(BrightnessBackend(), quality=ASKED).segment(case)
    cut = Segmenter(BrightnessBackend(), Wish(window=(16, 16, 16)), quality=ASKED).segment(case)
    assert cut.plan.passes > 1
    np.testing.assert_allclose(cut.probabilities, whole.probabilities, atol=1e-3)


@pytest.mark.parametrize(("spacing", "axes"), [((1.3, 0.9, 2.0), "RAS"), ((0.8, 1.0, 3.0), "PIR")])
def test_probabilities_come_back_to_voxels_of_other_sizes(spacing: tuple[float, float, float], axes: str) -> None:
    case, truth = ball_case(spacing, axes)
    segmentation = Segmenter(BrightnessBackend(), intake=Intake(), quality=ASKED).segment(case)
    found = segmentation.probabilities
    assert found.shape == (4, *truth.shape)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=2e-3)
    outside = case.volumes[0].array == 0
    assert (found[0][outside] == 1).all()
    for label in (2, 3):  # the fake is sure of 0.62 and 0.79 in the middle of a ball, not of the other label
        middle = truth == label
        assert found[label][middle].mean() > 3 * found[label][~middle & ~outside].mean()


def test_labels_are_the_same_with_and_without_maps(tmp_path: Path) -> None:
    case = _case(tmp_path, "LPS")
    plain, with_maps = (Segmenter(SidedBackend(), quality=quality).segment(case) for quality in (None, ASKED))
    np.testing.assert_array_equal(plain.labels, with_maps.labels)
    with pytest.raises(ConfigError, match="case Case-001: was segmented without probabilities"):
        _ = plain.probabilities


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_saved_probabilities_lie_on_the_cases_grid(kind: str, tmp_path: Path) -> None:
    case = _case(tmp_path, "LPS")
    quality = Quality(probabilities=True, map_type=kind)  # type: ignore[arg-type]
    segmentation = Segmenter(SidedBackend(), quality=quality).segment(case)
    paths = segmentation.save_maps(tmp_path / "out")
    assert paths == {"probabilities": tmp_path / "out" / "Case-001-probabilities.nii.gz"}
    written = nibabel.load(paths["probabilities"])
    np.testing.assert_array_equal(written.affine, case.grid.affine)
    error = 0 if kind == "float32" else 0.5 / 255 + 1e-6
    np.testing.assert_allclose(np.moveaxis(written.get_fdata(), 3, 0), segmentation.probabilities, atol=error)
    assert Segmenter(SidedBackend()).segment(case).save_maps(tmp_path / "none") == {}
    assert not (tmp_path / "none").exists()


def test_the_plan_of_maps_is_that_of_logits_though_one_pass_needs_labels_alone(tmp_path: Path) -> None:
    case, backend = _case(tmp_path), SidedBackend()
    backend.footprint = dataclasses.replace(backend.footprint, share=100.0, labels_share=1.0)
    plain, with_maps = (Segmenter(backend, quality=quality) for quality in (None, ASKED))
    prepared = plain.prepare(case)
    peaks = [one.plan_prepared(prepared).peak_bytes - backend.footprint.held_bytes for one in (plain, with_maps)]
    assert peaks[1] > 20 * peaks[0]
    mirrored = Segmenter(backend, quality=Quality(mirror="x"))  # whose labels are made of logits, too
    assert mirrored.plan_prepared(prepared).peak_bytes - backend.footprint.held_bytes > 20 * peaks[0]


def test_the_plan_counts_what_maps_take(tmp_path: Path) -> None:
    case = _case(tmp_path)
    plain, with_maps = (Segmenter(SidedBackend(), quality=quality) for quality in (None, ASKED))
    prepared = plain.prepare(case)
    kept = 2 * 5 * np.prod(plain.plan_prepared(prepared).shape) + 9 * case.grid.array.size
    for other in (0, 1000):
        more = with_maps.plan_prepared(prepared, other).peak_bytes - plain.plan_prepared(prepared, other).peak_bytes
        assert more == with_maps.map_bytes(prepared) == kept
    assert plain.map_bytes(prepared) == 0


def _votes(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Of SidedBackend, plain and mirrored along y: probabilities (2, K, X, Y, Z) in the brain's box; its foreground."""
    brain = crop_to_brain(case)
    padded, inner = pad_to_multiple(brain.array, SidedBackend().spec.divisor)
    logits = [np.flip(SidedBackend().logits(np.flip(padded[None], flip)), flip)[0] for flip in ((), (3,))]
    return np.stack([softmax(one)[(slice(None), *inner.slices)] for one in logits]), brain.foreground


def test_doubt_is_that_of_plain_loops_over_votes(tmp_path: Path) -> None:
    case = _case(tmp_path)
    segmentation = Segmenter(SidedBackend(), quality=Quality(mirror="y", uncertainty=True)).segment(case)
    votes, foreground = _votes(case)
    mean = votes.mean(axis=0)
    box = crop_to_brain(case).box.slices
    wanted = np.where(foreground, entropy(mean), 0)
    assert segmentation.maps is not None
    np.testing.assert_allclose(segmentation.maps.entropy()[box], wanted, atol=2e-3)
    unlike = np.where(foreground, entropy(mean) - (entropy(votes[0]) + entropy(votes[1])) / 2, 0)
    np.testing.assert_allclose(segmentation.maps.disagreement()[box], unlike, atol=3e-3)
    assert unlike.max() > 0.1
    labels = [one.argmax(axis=0) * foreground for one in votes]
    assert segmentation.doubt is not None
    for name, region in (("WT", (1, 2, 3)), ("TC", (1, 3)), ("ET", (3,))):
        one, two = (np.isin(label, region) for label in labels)
        dice = 2 * (one & two).sum() / (one.sum() + two.sum())
        assert 0 < dice < 0.999
        assert segmentation.doubt.agreement[name] == pytest.approx(dice, abs=1e-4)
        own = np.isin(segmentation.labels[box], region)
        share = mean[list(region)].sum(axis=0) * foreground
        assert segmentation.doubt.expected_dice[name] == pytest.approx(
            2 * share[own].sum() / (share.sum() + own.sum()), abs=1e-3
        )


def test_agreement_is_the_mean_dice_over_all_pairs_of_like_votes() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (3, 6, 5, 4)).astype(np.uint8)
    seen = np.stack([np.isin(labels, region) for region in REGIONS.values()], axis=1)  # (votes, regions, X, Y, Z)
    logits = np.concatenate([np.zeros((5, 6, 5, 4)), seen.mean(axis=0)]).astype(np.float32)
    arrays = VoteArrays(np.ones((6, 5, 4), dtype=np.bool_), classes=4, votes=3)
    arrays.take(0, logits[:, :4])
    arrays.take(4, logits[:, 4:])
    for place, name in enumerate(REGIONS):
        pairs = list(itertools.combinations(seen[:, place], 2))
        both, sizes = (
            sum(f(a, b) for a, b in pairs) for f in (lambda a, b: (a & b).sum(), lambda a, b: a.sum() + b.sum())
        )
        assert arrays.doubts(labels[0]).agreement[name] == pytest.approx(2 * both / sizes, abs=1e-4)


def test_one_vote_has_entropy_and_an_expectation_alone(tmp_path: Path) -> None:
    case = _case(tmp_path)
    segmentation = Segmenter(BrightnessBackend(), quality=Quality(uncertainty=True)).segment(case)
    assert segmentation.doubt is not None
    assert segmentation.doubt.agreement == {}
    assert segmentation.doubt.expected_dice["ET"] is not None
    assert list(segmentation.save_maps(tmp_path / "out")) == ["entropy"]
    assert segmentation.maps is not None
    with pytest.raises(ConfigError, match="one vote has nothing to disagree with"):
        segmentation.maps.disagreement()


def test_windows_doubt_as_one_pass_does(tmp_path: Path) -> None:
    """The fake looks at each voxel alone, so mirrored votes agree, and blending changes nothing."""
    quality = Quality(mirror="xz", uncertainty=True)
    wishes = (None, Wish(window=(16, 16, 16)))
    whole, cut = (Segmenter(BrightnessBackend(), wish, quality=quality).segment(_case(tmp_path)) for wish in wishes)
    assert whole.doubt is not None
    assert cut.doubt is not None
    assert whole.doubt.agreement == cut.doubt.agreement == {"WT": 1.0, "TC": 1.0, "ET": 1.0}
    for name, value in whole.doubt.expected_dice.items():
        assert cut.doubt.expected_dice[name] == pytest.approx(value, abs=1e-3)
    assert whole.maps is not None
    assert np.abs(whole.maps.disagreement()).max() < 2e-3
