"""Other ways to prepare intensities."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.intensity import Values, clipped, main, standard_scale, to_scale, without_bias
from ssa_fast.errors import BackendUnavailable, ConfigError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import find_cases
from ssa_fast.volume.nifti import read_volume
from tests.cases import write_case

_RNG = np.random.default_rng(5)


def _brain(scale: float = 1.0, offset: float = 0.0) -> Values:
    return (offset + scale * _RNG.gamma(4.0, 25.0, 20_000)).astype(np.float32)


def test_clipping_ends_at_the_percentiles_and_changes_nothing_between() -> None:
    inside = _brain()
    low, high = np.percentile(inside, (0.5, 99.5))
    changed = clipped(inside)
    assert (changed.min(), changed.max()) == (np.float32(low), np.float32(high))
    between = (inside > low) & (inside < high)
    np.testing.assert_array_equal(changed[between], inside[between])


def test_brains_of_two_scanners_get_one_histogram() -> None:
    brain = _brain()
    scale = standard_scale([brain, _brain()])
    assert (scale[0], scale[-1]) == (1, 100)
    marks = [5, 25, 50, 75, 95]
    here, there = (np.percentile(to_scale(values, scale), marks) for values in (brain, brain**1.3 * 40))
    np.testing.assert_allclose(here, there, rtol=0.05)


def test_a_scale_keeps_the_order_of_values_beyond_its_ends_too() -> None:
    inside = np.sort(_brain())
    inside[-3:] = inside[-4] * np.array([2, 3, 4])
    moved = to_scale(inside, standard_scale([_brain()]))
    assert (np.diff(moved) >= 0).all()
    assert moved[-1] > moved[-2] > moved[-3] > 100


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


def test_a_histogram_wants_the_fold_that_it_must_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(tmp_path / "cases", "a")
    with pytest.raises(ConfigError, match="histogram needs --fold"):
        _main(monkeypatch, "histogram", str(tmp_path / "cases"), "--out", str(tmp_path / "changed"))


@pytest.mark.skipif(importlib.util.find_spec("SimpleITK") is not None, reason="SimpleITK is installed")
def test_n4_names_what_it_needs() -> None:
    with pytest.raises(BackendUnavailable, match="pip install SimpleITK"):
        without_bias(np.ones((8, 8, 8), dtype=np.float32))


@pytest.mark.skipif(importlib.util.find_spec("SimpleITK") is None, reason="SimpleITK is not installed")
def test_n4_evens_out_a_field() -> None:
    tissue = 100 + 5 * _RNG.standard_normal((48, 48, 48))
    field = np.linspace(0.6, 1.4, 48)[:, None, None]
    image = (tissue * field).astype(np.float32)
    image[:4] = 0
    changed = without_bias(image)
    assert (changed[:4] == 0).all()
    inside = image != 0
    assert changed[inside].std() / changed[inside].mean() < 0.5 * image[inside].std() / image[inside].mean()


def _main(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["intensity", *words])
    main()
