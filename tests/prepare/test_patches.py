"""Patches on the disk: where they lie, what they hold, how they are read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ssa_fast.files import sha256
from ssa_fast.prepare.patches import cut_box, cut_patches, patch_content, remove_patches, write_patches
from ssa_fast.prepare.prepared import PatchSettings
from tests.cases import brain_ellipsoid, brain_values, tumor_labels

VOLUME = np.stack([brain_values(seed=seed) / 300 for seed in range(4)]).astype(np.float16)
LABELS = tumor_labels()


def boxes(settings: PatchSettings, labels: np.ndarray = LABELS, case: str = "Case") -> list[tuple[slice, ...]]:
    starts = cut_patches(case, VOLUME, labels, settings)
    return [tuple(slice(max(a, 0), a + edge) for a, edge in zip(s, settings.shape, strict=True)) for s in starts]


@given(seed=st.integers(0, 1000), shape=st.tuples(*[st.sampled_from([6, 10, 16])] * 3), count=st.integers(1, 12))
def test_every_patch_lies_inside_at_a_place_of_its_own_and_holds_tumor_and_brain(
    seed: int, shape: tuple[int, int, int], count: int
) -> None:
    found = boxes(PatchSettings(count=count, seed=seed, shape=shape))
    assert len(found) == count
    assert len({str(box) for box in found}) == count
    for box in found:
        assert LABELS[box].shape == shape
        assert VOLUME[(slice(None), *box)].any()
        assert LABELS[box].any()


def test_patches_of_a_case_without_tumor_hold_brain() -> None:
    settings = PatchSettings(count=20, shape=(6, 6, 6))
    for box in boxes(settings, np.zeros_like(LABELS)):
        assert brain_ellipsoid()[box].any()


def test_a_brain_smaller_than_a_patch_is_shown_whole_in_the_middle(tmp_path: Path) -> None:
    written = write_patches(tmp_path, "Case", VOLUME, LABELS, PatchSettings(count=16, shape=(32, 32, 32)))
    assert list(written) == ["Case_patch_0.npz"]  # there is but one place
    with np.load(tmp_path / "Case_patch_0.npz") as patch:
        image, label = patch["image"], patch["label"]
    assert image.dtype == np.float32
    assert image.shape == (4, 32, 32, 32)
    assert label.dtype == np.uint8
    inner = tuple(slice(-((edge - 32) // 2), -((edge - 32) // 2) + edge) for edge in LABELS.shape)
    np.testing.assert_array_equal(image[(slice(None), *inner)], VOLUME)
    np.testing.assert_array_equal(label[inner], LABELS)
    assert np.count_nonzero(image) == np.count_nonzero(VOLUME)


def test_a_case_draws_the_same_places_whatever_else_there_is_and_other_seeds_others() -> None:
    settings = PatchSettings(count=5, shape=(8, 8, 8))
    assert boxes(settings) == boxes(settings)
    assert boxes(settings) != boxes(PatchSettings(count=5, shape=(8, 8, 8), seed=1))
    assert boxes(settings) != boxes(settings, case="Other")


def test_hashes_are_those_of_the_files_and_equal_runs_write_equal_bytes(tmp_path: Path) -> None:
    settings = PatchSettings(count=3, shape=(8, 8, 8))
    written = write_patches(tmp_path, "Case", VOLUME, LABELS, settings)
    before = {name: (tmp_path / name).read_bytes() for name in written}
    assert {name: sha256(content) for name, content in before.items()} == written
    assert write_patches(tmp_path, "Case", VOLUME, LABELS, settings) == written


@given(arrays.arrays(np.float32, (2, 3, 2), elements=st.floats(-9, 9, width=32)), st.integers(0, 3))
def test_a_patch_gives_back_its_arrays(image: np.ndarray, label: int) -> None:
    with np.load(io.BytesIO(patch_content(image, np.full((3, 2), label, np.uint8)))) as patch:
        np.testing.assert_array_equal(patch["image"], image)
        np.testing.assert_array_equal(patch["label"], np.full((3, 2), label))


@pytest.mark.parametrize("case", ["A", "A_patch_1", "A.b-[x]"])
def test_only_the_patches_of_one_case_are_removed(case: str, tmp_path: Path) -> None:
    own = [f"{case}_patch_0.npz", f"{case}_patch_11.npz", f".{case}_patch_2.npz.77.partial"]
    others = ["B_patch_0.npz", "A_patch_1_patch_1_patch_0.npz", "A_patch_x.npz", "notes.txt", "A_patch_1.npz.bak"]
    for name in own + others:
        (tmp_path / name).touch()
    remove_patches(tmp_path, case)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
    remove_patches(tmp_path / "absent", case)


def test_a_box_reaches_beyond_the_array_as_zeros_and_beside_it_holds_nothing_else() -> None:
    array = np.arange(1, 9).reshape(1, 2, 2, 2)
    assert cut_box(array, (1, 0, 0), (2, 2, 1)).tolist() == [[[[5], [7]], [[0], [0]]]]
    assert cut_box(array, (-1, 1, 1), (2, 1, 1)).tolist() == [[[[0]], [[1 + 3]]]]
    for start in ((2, 0, 0), (0, -5, 0), (0, 0, 9)):
        assert not cut_box(array, start, (2, 2, 2)).any()
