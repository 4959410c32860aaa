"""What is refused, what is resampled, and what --force overrides."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest

from ssa_fast.errors import CaseError
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.volume.case import Case
from tests.cases import ball_case
from tests.infer.fakes import BrightnessBackend


def _with_background() -> Case:
    case, _ = ball_case((1, 1, 1))
    volumes = [dataclasses.replace(volume, array=volume.array + 10) for volume in case.volumes]
    return dataclasses.replace(case, volumes=tuple(volumes))


def test_a_suspected_case_is_refused_in_one_line() -> None:
    with pytest.raises(CaseError, match="case ball: the background of t1n t1c t2w t2f is not zero: strip") as caught:
        Segmenter(BrightnessBackend(), intake=Intake()).segment(_with_background())
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("; --force segments it all the same")


def test_force_warns_and_says_what_it_overrode(caplog: pytest.LogCaptureFixture) -> None:
    segmentation = Segmenter(BrightnessBackend(), intake=Intake(is_forced=True)).segment(_with_background())
    assert segmentation.overridden == ("the background of t1n t1c t2w t2f is not zero",)
    assert "segmented all the same, by --force: the background" in caplog.text


def test_without_an_intake_nothing_is_checked() -> None:
    assert Segmenter(BrightnessBackend()).segment(_with_background()).overridden == ()


def test_never_resampling_refuses_other_voxels_and_takes_1_mm() -> None:
    segmenter = Segmenter(BrightnessBackend(), intake=Intake(resample="never"))
    assert not segmenter.resamples
    with pytest.raises(CaseError, match=r"case ball: .*voxels are 1 x 1 x 5 mm, wanted 1 x 1 x 1 mm"):
        segmenter.segment(ball_case((1, 1, 5))[0])
    assert segmenter.segment(ball_case((1, 1, 1))[0]).plan.resampled_from_mm is None


def test_thick_slices_are_segmented_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    case, truth = ball_case((1, 1, 5), "LPS")
    segmentation = Segmenter(BrightnessBackend(), intake=Intake()).segment(case)
    assert "voxels of 1 x 1 x 5 mm are resampled to 1 mm" in caplog.text
    assert "(resampled from voxels of 1 x 1 x 5 mm)" in str(segmentation.plan)
    assert segmentation.volumes_ml["ET"] == pytest.approx(5 * np.count_nonzero(segmentation.labels == 3) / 1000)
    assert segmentation.volumes_ml["ET"] == pytest.approx(5 * np.count_nonzero(truth == 3) / 1000, rel=0.2)


def test_voxels_a_little_off_1_mm_need_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        segmentation = Segmenter(BrightnessBackend(), intake=Intake()).segment(ball_case((0.94, 0.94, 1.2))[0])
    assert segmentation.plan.resampled_from_mm == pytest.approx((0.94, 0.94, 1.2))
    assert not caplog.records
