"""A case through the whole of inference, by a backend whose right answer is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssa_fast.backends.base import Footprint
from ssa_fast.errors import BudgetError, ConfigError
from ssa_fast.hardware import give_heap_back
from ssa_fast.infer.ensemble import Ensemble
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.plan import Wish
from ssa_fast.infer.quality import Quality
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.measure import resident_bytes
from ssa_fast.volume.case import Case, find_cases, read_case
from ssa_fast.volume.geometry import FloatArray, LabelArray
from ssa_fast.volume.postprocess import POSTPROCESSING, postprocess
from tests.cases import ORIENTATIONS, ball_case, turned_affine, write_case
from tests.infer.fakes import BrightnessBackend


def _case(folder: Path, axes: str = "RAS") -> Case:
    return read_case(find_cases([write_case(folder, "Case-001", affine=turned_affine(axes, (3, -5, 7)))])[0])


def _expected(case: Case) -> LabelArray:
    """The rule of BrightnessBackend, worked out in the axes of the file."""
    scores = []
    for volume in case.volumes:
        values = np.asarray(volume.array, dtype=np.float64)
        inside = values[values != 0]
        scores.append(np.where(values != 0, (values - inside.mean()) / inside.std(), 0))
    return np.where(scores[1] > 1, 3, np.where(scores[3] > 1, 2, 0)).astype(np.uint8)


@pytest.mark.parametrize("axes", ORIENTATIONS[::5])
def test_labels_come_back_voxel_for_voxel_in_the_axes_of_the_file(axes: str, tmp_path: Path) -> None:
    case = _case(tmp_path, axes)
    segmentation = Segmenter(BrightnessBackend()).segment(case)
    expected = _expected(case)
    assert set(np.unique(expected)) == {0, 2, 3}
    np.testing.assert_array_equal(segmentation.labels, expected)
    assert segmentation.labels.dtype == np.uint8


def test_volumes_are_counted_in_millilitres(tmp_path: Path) -> None:
    case = _case(tmp_path)
    counts = np.bincount(_expected(case).ravel(), minlength=4)
    volumes = Segmenter(BrightnessBackend()).segment(case).volumes_ml
    assert volumes == {"NCR": 0.0, "ED": counts[2] / 1000, "ET": counts[3] / 1000}


def test_every_stage_is_timed(tmp_path: Path) -> None:
    segmentation = Segmenter(BrightnessBackend()).segment(_case(tmp_path))
    assert list(segmentation.seconds) == ["prepare", "network", "labels"]
    assert all(seconds > 0 for seconds in segmentation.seconds.values())


def test_a_budget_that_is_too_small_is_an_error_before_the_network_runs(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="are granted"):
        Segmenter(BrightnessBackend(), Wish(budget_bytes=1000)).segment(_case(tmp_path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modalities": ("t1c", "t1n", "t2w", "t2f")}, "reads t1c t1n t2w t2f, cases hold t1n t1c t2w t2f"),
        ({"labels": ("background", "ED", "NCR", "ET")}, "gives the labels background ED NCR ET, segmentations hold"),
        ({"preprocessing": "scaled to [0, 1]"}, r"trained on volumes scaled to \[0, 1\], cases are prepared as RAS"),
    ],
)
def test_a_network_that_was_trained_on_something_else_is_refused(change: dict[str, Any], words: str) -> None:
    backend = BrightnessBackend()
    backend.spec = dataclasses.replace(backend.spec, **change)
    with pytest.raises(ConfigError, match=words):
        Segmenter(backend)


def test_the_budget_is_what_the_device_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = BrightnessBackend()
    case = _case(tmp_path)
    for is_host, held in ((True, 10**12), (False, 1000)):
        backend.footprint = Footprint(held_bytes=held, share=1.0, is_host=is_host)
        monkeypatch.setattr(backend, "free_bytes", lambda: 1000)
        with pytest.raises(BudgetError, match="are granted"):
            Segmenter(backend).segment(case)
        monkeypatch.setattr(backend, "free_bytes", lambda: None)
        assert Segmenter(backend).segment(case).plan.peak_bytes > held


@pytest.mark.parametrize("axes", ORIENTATIONS[::17])
@pytest.mark.parametrize("batch", [1, 3])
def test_windows_give_the_labels_of_one_pass(axes: str, batch: int, tmp_path: Path) -> None:
    """The fake looks at each voxel alone, so where windows meet nothing may differ."""
    case = _case(tmp_path, axes)
    wish = Wish(window=(16, 16, 16), overlap=0.4, batch=batch)
    segmentation = Segmenter(BrightnessBackend(), wish).segment(case)
    assert segmentation.plan.passes > 1
    np.testing.assert_array_equal(segmentation.labels, _expected(case))
    assert list(segmentation.seconds) == ["prepare", "network", "labels"]
    assert min(segmentation.seconds.values()) > 0


def test_the_pace_that_was_seen_gives_the_next_plan_its_seconds(tmp_path: Path) -> None:
    segmenter, case = Segmenter(BrightnessBackend()), _case(tmp_path)
    first = segmenter.segment(case)
    assert first.plan.expected_seconds is None
    second = segmenter.segment(case)
    assert second.plan.expected_seconds == pytest.approx(first.seconds["network"])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.7, 3.0)])
def test_what_is_prepared_holds_the_brain_alone(spacing: tuple[float, float, float]) -> None:
    case, _ = ball_case(spacing, "PIR")
    prepared = Segmenter(BrightnessBackend(), intake=Intake()).prepare(case)
    held = [prepared.case, *([prepared.resampled.case, prepared.resampled.files] if prepared.resampled else [])]
    assert not any(volume.array.any() for one in held for volume in one.volumes)
    masks = prepared.brain.foreground.nbytes + (prepared.resampled.brain.nbytes if prepared.resampled else 0)
    assert prepared.nbytes == prepared.brain.array.nbytes + masks
    assert prepared.reading_bytes >= 1.2 * case.nbytes


class _KeepingBackend(BrightnessBackend):
    """Keeps the buffers of its largest windows, as an engine may."""

    def __init__(self) -> None:
        super().__init__()
        self.let_gos = 0

    def logits(self, windows: FloatArray) -> FloatArray:
        self.footprint = dataclasses.replace(self.footprint, kept_bytes=windows.nbytes)
        return super().logits(windows)

    def let_go(self) -> None:
        self.let_gos += 1
        self.footprint = dataclasses.replace(self.footprint, kept_bytes=0)


def test_an_engine_lets_go_of_its_buffers_where_the_next_case_could_not_be_read_beside_them(tmp_path: Path) -> None:
    case = _case(tmp_path)
    give_heap_back()  # as a plan does, so that what is resident here is what it sees
    for budget, let_gos in ((None, 0), (10**12, 0), (resident_bytes() + case.nbytes // 2, 1)):
        backend = _KeepingBackend()
        Segmenter(backend, Wish(budget_bytes=budget)).segment(case)
        assert backend.let_gos == let_gos


def test_an_engine_lets_go_where_the_plan_does_not_fit_beside_what_it_kept(tmp_path: Path) -> None:
    case, backend = _case(tmp_path), _KeepingBackend()
    segmenter = Segmenter(backend, Wish(budget_bytes=10**12))
    alone = segmenter.segment(case).plan
    backend.footprint = dataclasses.replace(backend.footprint, kept_bytes=10**11)
    beside = segmenter.segment(case).plan
    assert (beside.lets_go, backend.let_gos) == (False, 0)
    assert beside.peak_bytes > alone.peak_bytes + 9 * 10**10
    backend.footprint = dataclasses.replace(backend.footprint, kept_bytes=10**12)
    tight = segmenter.segment(case).plan
    assert (tight.lets_go, backend.let_gos) == (True, 1)
    assert tight.peak_bytes == alone.peak_bytes


def test_labels_are_mended_as_the_bundle_names_or_as_is_asked_for(tmp_path: Path) -> None:
    case = _case(tmp_path)
    plain = Segmenter(BrightnessBackend()).segment(case)
    backend = BrightnessBackend()
    backend.spec = dataclasses.replace(backend.spec, postprocessing="largest")
    named = Segmenter(backend).segment(case)
    assert (plain.postprocessing, named.postprocessing) == ("none", "largest")
    np.testing.assert_array_equal(named.labels, postprocess(plain.labels, POSTPROCESSING["largest"]))
    assert 0 < np.count_nonzero(named.labels) < np.count_nonzero(plain.labels)
    windows = Segmenter(backend, Wish(window=(16, 16, 16))).segment(case)
    np.testing.assert_array_equal(windows.labels, named.labels)
    asked = Segmenter(backend, quality=Quality(postprocess="none")).segment(case)
    np.testing.assert_array_equal(asked.labels, plain.labels)
    assert asked.postprocessing == "none"


def test_postprocessing_that_is_unknown_or_undecided_is_refused() -> None:
    with pytest.raises(ConfigError, match="no postprocessing 'best'"):
        Segmenter(BrightnessBackend(), quality=Quality(postprocess="best"))
    other = BrightnessBackend()
    other.spec = dataclasses.replace(other.spec, postprocessing="clean")
    pair = Ensemble([BrightnessBackend(), other])
    with pytest.raises(ConfigError, match="'brightness \\+ brightness' name unlike postprocessing: choose one"):
        Segmenter(pair)
    assert Segmenter(pair, quality=Quality(postprocess="clean")).backend.spec.labels == other.spec.labels
    assert Segmenter(Ensemble([other, other])).backend.spec.postprocessing == "clean"
