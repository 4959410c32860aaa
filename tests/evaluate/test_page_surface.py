"""Surfaces of masks: closed, seen from outside, where the mask is, and of its size."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import numpy.typing as npt
import pytest

from ssa_fast.evaluate.page_surface import Surface, mz3_bytes, surface_of

RADIUS, MIDDLE = 9, (12.0, 14.0, 11.0)


@pytest.fixture(scope="module")
def ball() -> npt.NDArray[np.bool_]:
    grid = np.indices((26, 28, 24)) - np.array(MIDDLE)[:, None, None, None]
    return np.asarray((grid**2).sum(axis=0) < RADIUS**2)


def _volume_mm3(surface: Surface) -> float:
    """By the divergence theorem: positive only where triangles are seen from outside."""
    corners = surface.points[surface.triangles].astype(float)
    return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, 1, 2, 1])], ids=["RAS", "mirrored, 2 mm slices"])
def test_a_balls_surface_is_closed_and_has_the_balls_volume_and_place(
    ball: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]
) -> None:
    surface = surface_of(ball, affine)
    sides = surface.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert len(np.unique(sides, axis=0)) == len(sides)  # each side once in this direction,
    assert {tuple(side) for side in sides} == {tuple(side[::-1]) for side in sides}  # and once in the other
    volume = np.count_nonzero(ball) * abs(np.linalg.det(affine[:3, :3]))
    assert 0.9 * volume < _volume_mm3(surface) < volume
    np.testing.assert_allclose(surface.points.mean(axis=0), affine[:3, :3] @ MIDDLE, atol=0.1)


def test_every_axis_is_treated_alike() -> None:
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[2:4, 3:8, 4:11] = True
    volumes = [_volume_mm3(surface_of(mask.transpose(axes), np.eye(4))) for axes in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    assert volumes[0] > 0
    np.testing.assert_allclose(volumes, volumes[0], rtol=1e-5)


def test_a_mask_that_touches_the_border_is_closed_there(ball: npt.NDArray[np.bool_]) -> None:
    surface = surface_of(np.ones((3, 3, 3), dtype=bool), np.eye(4))
    assert len(surface.triangles) == 2 * 6 * 9
    assert _volume_mm3(surface) > 0


def test_nothing_has_no_surface() -> None:
    surface = surface_of(np.zeros((4, 4, 4), dtype=bool), np.eye(4))
    assert (surface.points.shape, surface.triangles.shape) == ((0, 3), (0, 3))


def test_a_file_of_it_holds_its_triangles_and_points(ball: npt.NDArray[np.bool_]) -> None:
    surface = surface_of(ball, np.eye(4))
    content = gzip.decompress(mz3_bytes(surface))
    magic, kinds, triangles, points, skipped = struct.unpack_from("<2sHIII", content)
    assert (magic, kinds, triangles, points, skipped) == (b"MZ", 3, len(surface.triangles), len(surface.points), 0)
    kept = np.frombuffer(content, "<i4", 3 * triangles, offset=16).reshape(-1, 3)
    np.testing.assert_array_equal(kept, surface.triangles)
    places = np.frombuffer(content, "<f4", 3 * points, offset=16 + 12 * triangles).reshape(-1, 3)
    np.testing.assert_allclose(places, surface.points, atol=0.006)
