"""Other ways to prepare intensities."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.intensity import clipped, main, standard_scale, to_scale, without_bias, write_changed
from ssa_fast.errors import BackendUnavailable, ConfigError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import find_cases
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.nifti import read_volume
from tests.cases import write_case


def _brain(seed: int = 5) -> FloatArray:
    return np.random.default_rng(seed).gamma(4.0, 25.0, 20_000).astype(np.float32)


def test_clipping_ends_at_the_percentiles_and_changes_nothing_between() -> None:
    inside = _brain()
    low, high = np.percentile(inside, (0.5, 99.5))
    changed = clipped(inside)
    assert (changed.min(), changed.max()) == (np.float32(low), np.float32(high))
    between = (inside > low) & (inside < high)
    np.testing.assert_array_equal(changed[between], inside[between])


def test_brains_of_two_scanners_get_one_histogram() -> None:
    brain = _brain()
    scale = standard_scale([brain, _brain(6)])
    assert (scale[0], scale[-1]) == (1, 100)
    marks = [5, 25, 50, 75, 95]
    here, there = (np.percentile(to_scale(values, scale), marks) for values in (brain, brain**1.3 * 40))
    np.testing.assert_allclose(here, there, rtol=0.05)


def test_a_scale_keeps_the_order_of_values_beyond_its_ends_too() -> None:
    inside = np.sort(_brain())
    inside[-3:] = inside[-4] * np.array([2, 3, 4])
    inside[:3] = (-400, -300, -200)
    moved = to_scale(inside, standard_scale([_brain(6)]))
    assert (np.diff(moved) >= 0).all()
    assert moved[-1] > moved[-2] > moved[-3] > 100
    assert moved[0] < moved[1] < moved[2] < 1


def test_darkest_voxels_of_one_value_stay_finite() -> None:
    inside = _brain()
    inside[:4000] = 1
    inside[0] = -50
    moved = to_scale(inside, standard_scale([_brain(6)]))
    assert np.isfinite(moved).all()
    assert moved[0] == 1


def test_files_keep_their_brain_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(tmp_path / "cases", "a")
    _main(monkeypatch, "percentiles", str(tmp_path / "cases"), "--out", str(tmp_path / "changed"))
    (before,), (after,) = find_cases([tmp_path / "cases"]), find_cases([tmp_path / "changed"])
    for modality in MODALITIES:
        was, now = read_volume(before.one(modality)), read_volume(after.one(modality))
        np.testing.assert_array_equal(now.array != 0, was.array != 0)
        np.testing.assert_array_equal(now.affine, was.affine)
        assert now.array.max() < was.array.max()
    np.testing.assert_array_equal(read_volume(after.one("seg")).array, read_volume(before.one("seg")).array)


def test_a_voxel_that_a_change_makes_zero_stays_in_the_brain(tmp_path: Path) -> None:
    (files,) = find_cases([write_case(tmp_path / "cases", "a")])
    write_changed(files, tmp_path / "changed", lambda _, array: np.zeros_like(array))
    (after,) = find_cases([tmp_path / "changed"])
    for modality in MODALITIES:
        was, now = read_volume(files.one(modality)), read_volume(after.one(modality))
        np.testing.assert_array_equal(now.array != 0, was.array != 0)


def test_a_histograms_scale_knows_nothing_of_the_cases_that_are_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "splits.toml").write_text('folds = [["a"], ["b", "c"]]')
    words = ("--splits", str(tmp_path / "splits.toml"), "--fold", "0")
    for seed, folder in ((1, "one"), (2, "other")):
        for name in "abc":
            write_case(tmp_path / folder, name, seed=seed if name == "a" else 7 + ord(name))
        _main(monkeypatch, "histogram", str(tmp_path / folder), "--out", str(tmp_path / f"{folder}-changed"), *words)
    one, other = (find_cases([tmp_path / f"{folder}-changed"]) for folder in ("one", "other"))
    is_equal = [
        all(
            np.array_equal(read_volume(ours.one(modality)).array, read_volume(theirs.one(modality)).array)
            for modality in MODALITIES
        )
        for ours, theirs in zip(one, other, strict=True)
    ]
    assert is_equal == [False, True, True]


def test_a_histogram_wants_the_fold_that_it_must_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(tmp_path / "cases", "a")
    with pytest.raises(ConfigError, match="belong together"):
        _main(monkeypatch, "histogram", str(tmp_path / "cases"), "--out", str(tmp_path / "changed"))


@pytest.mark.skipif(importlib.util.find_spec("SimpleITK") is not None, reason="SimpleITK is installed")
def test_n4_names_what_it_needs() -> None:
    with pytest.raises(BackendUnavailable, match="pip install SimpleITK"):
        without_bias(np.ones((8, 8, 8), dtype=np.float32))


@pytest.mark.skipif(importlib.util.find_spec("SimpleITK") is None, reason="SimpleITK is not installed")
@pytest.mark.parametrize("offset", [0, -60])
def test_n4_evens_out_a_field_whatever_the_scanners_zero(offset: float) -> None:
    tissue = 100 + 5 * np.random.default_rng(5).standard_normal((48, 48, 48))
    tissue[24:] -= 80  # the darker half goes below zero
    field = np.linspace(0.6, 1.4, 48)[None, :, None]
    array = (tissue * field + offset).astype(np.float32)
    array[:4] = 0
    changed = without_bias(array)
    assert (changed[:4] == 0).all()
    for half in (slice(4, 24), slice(24, 48)):
        along_the_field = changed[half].mean((0, 2))
        assert along_the_field.std() / abs(along_the_field.mean()) < 0.5 * field.std()


def _main(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["intensity", *words])
    main()
