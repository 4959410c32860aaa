from __future__ import annotations

import math
import re
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

pytest.importorskip("scipy", reason="needs scipy: pip install 'ssa-fast[evaluate]'")

from ssa_fast.errors import BackendUnavailable, ShapeError
from ssa_fast.metrics.surface import SurfaceDistances, distances_to, surface_distances, surface_mm2
from tests.metrics.deepmind import deepmind

Mask = npt.NDArray[np.bool_]
ISOTROPIC, ANISOTROPIC = (1.0, 1.0, 1.0), (0.5, 1.25, 3.0)
SPACINGS = st.sampled_from([ISOTROPIC, ANISOTROPIC])
SHAPES = array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5)
MANY = settings(max_examples=80)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    shape = draw(SHAPES)
    one, other = (draw(arrays(np.bool_, shape)) for _ in range(2))
    return one, np.asfortranarray(other)


def box(shape: tuple[int, int, int], start: tuple[int, int, int], stop: tuple[int, int, int]) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


CUBE = box((12, 12, 12), (3, 3, 3), (7, 7, 7))
SHIFTED = box((12, 12, 12), (5, 3, 3), (9, 7, 7))  # by two voxels along X
NOTHING = np.zeros((12, 12, 12), dtype=bool)


def test_a_surface_against_itself_is_nowhere_apart() -> None:
    found = surface_distances(CUBE, CUBE, ISOTROPIC)
    assert (found.hausdorff_mm(), found.average_mm(), found.nsd(0)) == (0, 0, 1)


def test_the_area_of_a_slab_s_faces_is_that_of_the_voxels_faces() -> None:
    slab = box((6, 30, 30), (2, 0, 0), (4, 30, 30))
    areas = surface_distances(slab, slab, ANISOTROPIC).reference_mm2
    inner = 2 * 29 * 29 * 1.25 * 3.0  # two faces, of corners that have voxels on all four sides
    assert areas.sum() > inner
    assert np.count_nonzero(np.isclose(areas, 1.25 * 3.0)) == 2 * 29 * 29


def test_a_cube_moved_by_two_voxels_is_two_voxels_away() -> None:
    found = surface_distances(CUBE, SHIFTED, (1.5, 1.0, 1.0))
    assert found.hausdorff_mm(100) == 3.0
    assert found.nsd(3.0) == 1.0
    assert found.nsd(2.9) < 1.0


def test_the_percentile_leaves_the_farthest_area_out() -> None:
    mm, mm2 = np.array([0.0, 1.0, 9.0]), np.array([50.0, 46.0, 4.0])
    found = SurfaceDistances(reference_mm=mm, reference_mm2=mm2, predicted_mm=np.zeros(1), predicted_mm2=np.ones(1))
    assert (found.hausdorff_mm(50), found.hausdorff_mm(95), found.hausdorff_mm(97)) == (0, 1, 9)
    assert found.average_mm() == pytest.approx((46 + 36) / 101)
    assert found.nsd(1) == pytest.approx((96 + 1) / 101)


def test_two_empty_sets_agree() -> None:
    found = surface_distances(NOTHING, NOTHING, ISOTROPIC)
    assert (found.hausdorff_mm(), found.average_mm(), found.nsd(1)) == (0, 0, 1)


@pytest.mark.parametrize("pair", [(CUBE, NOTHING), (NOTHING, CUBE)])
def test_something_is_infinitely_far_from_nothing(pair: tuple[Mask, Mask]) -> None:
    found = surface_distances(*pair, ISOTROPIC)
    assert (found.hausdorff_mm(), found.average_mm(), found.nsd(1000)) == (math.inf, math.inf, 0)


@MANY
@given(pairs(), SPACINGS)
def test_distances_match_a_naive_version(pair: tuple[Mask, Mask], spacing: tuple[float, float, float]) -> None:
    places, targets = pair
    goals = np.argwhere(targets)
    expected = [
        min((math.dist(np.multiply(place, spacing), np.multiply(goal, spacing)) for goal in goals), default=math.inf)
        for place in np.argwhere(places)
    ]
    np.testing.assert_allclose(distances_to(places, targets, spacing), expected, rtol=1e-12)


@MANY
@given(pairs(), SPACINGS)
def test_scores_are_symmetric_and_bounded(pair: tuple[Mask, Mask], spacing: tuple[float, float, float]) -> None:
    there, back = surface_distances(*pair, spacing), surface_distances(*pair[::-1], spacing)
    assert there.hausdorff_mm() == back.hausdorff_mm()
    assert there.nsd(1) == pytest.approx(back.nsd(1), abs=1e-12)
    assert 0 <= there.nsd(1) <= 1
    assert there.nsd(0.5) <= there.nsd(1) <= there.nsd(2)


@MANY
@given(pairs())
def test_an_image_s_border_is_a_surface_like_any_other(pair: tuple[Mask, Mask]) -> None:
    inner, outer = (surface_distances(*masks, ISOTROPIC) for masks in (pair, [np.pad(mask, 2) for mask in pair]))
    np.testing.assert_array_equal(inner.reference_mm, outer.reference_mm)
    np.testing.assert_array_equal(inner.predicted_mm2, outer.predicted_mm2)


@MANY
@given(pairs(), SPACINGS)
def test_every_number_is_deepmind_s(pair: tuple[Mask, Mask], spacing: tuple[float, float, float]) -> None:
    library = deepmind()
    found, theirs = surface_distances(*pair, spacing), library.compute_surface_distances(*pair, spacing)
    np.testing.assert_allclose(found.reference_mm, theirs["distances_gt_to_pred"], atol=1e-12)
    np.testing.assert_allclose(found.predicted_mm, theirs["distances_pred_to_gt"], atol=1e-12)
    np.testing.assert_allclose(found.reference_mm2, theirs["surfel_areas_gt"], rtol=1e-12)
    np.testing.assert_allclose(found.predicted_mm2, theirs["surfel_areas_pred"], rtol=1e-12)
    if pair[0].any() and pair[1].any():
        assert found.hausdorff_mm() == pytest.approx(library.compute_robust_hausdorff(theirs, 95), abs=1e-12)
        for tolerance in (0.5, 1, 2):
            expected = library.compute_surface_dice_at_tolerance(theirs, tolerance)
            assert found.nsd(tolerance) == pytest.approx(expected, abs=1e-12)
        means = library.compute_average_surface_distance(theirs)
        areas = [theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()]
        assert found.average_mm() == pytest.approx(np.average(means, weights=areas), abs=1e-12)


@pytest.mark.filterwarnings("ignore::FutureWarning:monai")
def test_nsd_is_monai_s_with_sub_voxels(shared_ssa: Any) -> None:
    monai = pytest.importorskip("monai.metrics", reason="needs monai to compare")
    torch = pytest.importorskip("torch")
    from ssa_fast.volume.nifti import read_labels

    labels = np.asarray(read_labels(shared_ssa / "BraTS-SSA-00010-000" / "BraTS-SSA-00010-000-seg.nii.gz").array)
    pair = [labels == 3, np.roll(labels == 3, (2, 1, 0), axis=(0, 1, 2))]
    one_hot = [torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32)) for mask in pair]
    found = surface_distances(pair[0], pair[1], ISOTROPIC)
    for tolerance in (0.5, 1.0, 2.0):
        theirs = monai.compute_surface_dice(one_hot[1], one_hot[0], [tolerance], use_subvoxels=True)
        assert found.nsd(tolerance) == pytest.approx(float(theirs), abs=1e-6)


def test_unlike_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=re.escape("reference is (12, 12, 12), prediction (12, 12, 1)")):
        surface_distances(CUBE, CUBE[:, :, :1], ISOTROPIC)


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(BackendUnavailable, match=re.escape("pip install 'ssa-fast[evaluate]'")):
        surface_distances(CUBE, SHIFTED, ISOTROPIC)


def test_the_area_of_a_set_is_that_of_its_surface_elements() -> None:
    mask = np.random.default_rng(0).random((6, 7, 8)) < 0.4
    spacing = (1.0, 2.0, 3.0)
    elements = surface_distances(mask, mask, spacing).reference_mm2
    assert surface_mm2(mask, spacing) == pytest.approx(elements.sum())
    assert surface_mm2(np.zeros((2, 2, 2), dtype=np.bool_), spacing) == 0
