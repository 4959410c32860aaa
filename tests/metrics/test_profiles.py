from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("cc3d", reason="needs connected-components-3d: pip install 'ssa-fast[evaluate]'")
pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")

from ssa_fast.metrics.instances import instance_scores
from ssa_fast.metrics.lesion import PENALTY_MM, lesion_scores
from ssa_fast.metrics.overlap import overlaps
from ssa_fast.metrics.profiles import MEASURES, OVERLAP, PROFILES, Profile, score
from ssa_fast.metrics.surface import surface_distances
from tests.cases import tumor_labels

Labels = npt.NDArray[np.uint8]
SPACING = (1.0, 2.0, 0.5)
REFERENCE = tumor_labels()
PREDICTION = np.roll(REFERENCE, (1, 2, 0), axis=(0, 1, 2))
PREDICTION[0, 0, 0] = 3  # a false alarm at the very corner
EMPTY = np.zeros_like(REFERENCE)
EVERY = pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))


@EVERY
@pytest.mark.parametrize("pair", [(REFERENCE, PREDICTION), (EMPTY, EMPTY), (REFERENCE, EMPTY), (EMPTY, PREDICTION)])
def test_every_target_has_every_measure_and_each_is_a_finite_number(
    profile: Profile, pair: tuple[Labels, Labels]
) -> None:
    scores = score(*pair, SPACING, profile)
    assert list(scores) == list(profile.targets)
    for values in scores.values():
        assert list(values) == list(profile.measures)
        assert all(math.isfinite(value) for value in values.values())


@EVERY
def test_equal_labels_have_the_best_of_every_measure(profile: Profile) -> None:
    best = {"difference_ml": 0.0, "hd95_mm": 0.0, "asd_mm": 0.0, "lesion_hd95_mm": 0.0, "instance_hd95_mm": 0.0}
    counts = {name for name in MEASURES if MEASURES[name].decimals in (0, 1)} - {"difference_ml"}
    for values in score(REFERENCE, REFERENCE.copy(), SPACING, profile).values():
        assert {name: value for name, value in values.items() if name not in counts} == {
            name: best.get(name, 1.0) for name in values if name not in counts
        }


@pytest.mark.parametrize(("reference", "predicted"), [(REFERENCE, EMPTY), (EMPTY, PREDICTION)])
def test_something_against_nothing_has_the_worst_of_every_measure(reference: Labels, predicted: Labels) -> None:
    spacing = (4.0, 4.0, 4.0)  # no lesion is small
    for profile in ("brats2023", "brats2025", "legacy"):
        for values in score(reference, predicted, spacing, PROFILES[profile]).values():
            for name, value in values.items():
                if name.endswith("hd95_mm"):
                    assert value == PENALTY_MM
                elif name.endswith(("dice", "nsd", "recall")):
                    assert value == 0


def test_measures_are_those_of_the_modules_on_the_whole_volume() -> None:
    masks = [np.isin(labels, (1, 3)) for labels in (REFERENCE, PREDICTION)]
    surfaces = surface_distances(masks[0], masks[1], SPACING)
    lesions = lesion_scores(masks[0], masks[1], SPACING)
    instances = instance_scores(masks[0], masks[1], SPACING)
    overlap = overlaps(REFERENCE, PREDICTION)["TC"]
    assert score(REFERENCE, PREDICTION, SPACING, PROFILES["brats2023"])["TC"] == {
        "lesion_dice": lesions.dice,
        "lesion_hd95_mm": lesions.hd95_mm,
        "lesions_found": lesions.found,
        "lesions_missed": lesions.missed,
        "false_alarms": 1,
        "dice": overlap.dice,
        "hd95_mm": surfaces.hausdorff_mm(),
        "recall": overlap.recall,
        "specificity": overlap.specificity,
    }
    assert score(REFERENCE, PREDICTION, SPACING, PROFILES["brats2025"])["TC"] == {
        "instance_dice": instances.dice,
        "instance_nsd": instances.nsd,
        "instance_hd95_mm": instances.hd95_mm,
        "instances_paired": 1,
        "instances_missed": 0,
        "instance_false_alarms": 1,
        "dice": overlap.dice,
    }
    full = score(REFERENCE, PREDICTION, SPACING, PROFILES["full"])["TC"]
    assert full["asd_mm"] == surfaces.average_mm()
    assert [full["nsd_0.5mm"], full["nsd_1mm"], full["nsd_2mm"]] == [surfaces.nsd(mm) for mm in (0.5, 1, 2)]
    assert full["iou"] == overlap.iou


def test_volumes_are_in_millilitres_and_their_difference_is_prediction_less_reference() -> None:
    prediction = np.where(REFERENCE == 2, 0, REFERENCE).astype(np.uint8)
    whole = score(REFERENCE, prediction, (2.0, 1.0, 1.0), PROFILES["full"])["WT"]
    assert whole["reference_ml"] == pytest.approx(343 * 2 / 1000)
    assert whole["predicted_ml"] == pytest.approx(125 * 2 / 1000)
    assert whole["difference_ml"] == pytest.approx(-218 * 2 / 1000)


def test_background_s_surface_is_scored_over_the_whole_volume() -> None:
    background = [labels == 0 for labels in (REFERENCE, PREDICTION)]
    surfaces = surface_distances(background[0], background[1], SPACING)
    found = score(REFERENCE, PREDICTION, SPACING, PROFILES["full"])["background"]
    assert found["nsd_1mm"] == surfaces.nsd(1)
    assert found["asd_mm"] == surfaces.average_mm() > 0


def test_plain_means_are_over_four_classes_and_weighted_by_the_reference() -> None:
    scores = score(REFERENCE, PREDICTION, SPACING, PROFILES["plain"])
    classes = [scores[name]["iou"] for name in ("background", "NCR", "ED", "ET")]
    voxels = np.bincount(REFERENCE.ravel(), minlength=4)
    assert scores["mean"]["iou"] == pytest.approx(sum(classes) / 4)
    assert scores["weighted"]["iou"] == pytest.approx((classes * voxels).sum() / voxels.sum())
    assert scores["weighted"]["iou"] > scores["mean"]["iou"]  # the background is large, and easy


def test_the_default_profile_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for library in ("scipy", "scipy.spatial", "cc3d"):
        monkeypatch.setitem(sys.modules, library, None)
    assert score(REFERENCE, PREDICTION, SPACING, OVERLAP)["WT"]["dice"] > 0
    assert score(REFERENCE, PREDICTION, SPACING, PROFILES["plain"])["mean"]["dice"] > 0


def test_dice_and_iou_are_monai_s(shared_ssa: Path) -> None:
    monai = pytest.importorskip("monai.metrics", reason="needs monai to compare")
    torch = pytest.importorskip("torch")
    from ssa_fast.volume.nifti import read_labels

    labels = np.asarray(read_labels(shared_ssa / "BraTS-SSA-00010-000" / "BraTS-SSA-00010-000-seg.nii.gz").array)
    moved = np.roll(labels, (2, 1, 0), axis=(0, 1, 2))
    one_hot = [torch.from_numpy(np.stack([array == label for label in range(4)])[None]) for array in (labels, moved)]
    theirs = {
        "dice": monai.compute_dice(one_hot[1].float(), one_hot[0].float())[0],
        "iou": monai.compute_iou(one_hot[1].float(), one_hot[0].float())[0],
    }
    scores = score(labels, moved, (1.0, 1.0, 1.0), PROFILES["plain"])
    for place, name in enumerate(("background", "NCR", "ED", "ET")):
        for measure, values in theirs.items():
            assert scores[name][measure] == pytest.approx(float(values[place]), abs=1e-6)
