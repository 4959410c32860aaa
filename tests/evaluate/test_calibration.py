from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.calibration import BINS, Calibration, Reliability, calibrate, calibrate_case, reliability
from ssa_fast.evaluate.scores import score_cases
from ssa_fast.files import sha256
from ssa_fast.metrics.overlap import TARGETS
from ssa_fast.volume.case import find_cases
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.nifti import MapType, read_labels, write_maps
from tests.cases import rotation, tumor_labels, write_case, write_nifti

NAME = "BraTS-SSA-70001-000"


def of(values: list[float], truth: list[bool]) -> Reliability:
    return reliability(np.array(values, dtype=np.float32), np.array(truth, dtype=bool))


def shares_of(labels: npt.NDArray[np.uint8], sure: float = 1.0) -> FloatArray:
    """(4, X, Y, Z): `sure` for the label, the rest for the others alike."""
    shares = np.full((4, *labels.shape), (1 - sure) / 3, dtype=np.float32)
    np.put_along_axis(shares, labels[None].astype(np.int64), sure, axis=0)
    return shares


def write_shares(prediction: Path, shares: FloatArray, kind: MapType = "uint8") -> Path:
    path = prediction.parent / f"{NAME}-probabilities.nii.gz"
    makers: list[Callable[[], FloatArray]] = [lambda one=one: one for one in shares]  # type: ignore[misc]
    write_maps(path, makers, read_labels(prediction), kind)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A reference, and a prediction that is a voxel off."""
    reference = write_case(tmp_path / "cases", NAME) / f"{NAME}-seg.nii.gz"
    return reference, write_nifti(tmp_path / "p" / f"{NAME}.nii.gz", np.roll(tumor_labels(), 1, axis=0))


def test_probabilities_that_come_true_have_no_error_and_a_curve_on_the_line() -> None:
    found = of([0.25] * 4 + [0.75] * 4, [True] + [False] * 3 + [True] * 3 + [False])
    assert found.ece == 0
    assert [point for point in found.curve if point] == [(0.25, 0.25), (0.75, 0.75)]
    assert found.curve.count(None) == BINS - 2  # empty bins say nothing


def test_a_constant_half_is_off_by_half_less_the_share_that_is_true() -> None:
    assert of([0.5] * 10, [True] * 2 + [False] * 8).ece == pytest.approx(0.3)
    assert of([0.5] * 10, [True] * 5 + [False] * 5).ece == 0


@pytest.mark.parametrize(("value", "truth", "ece"), [(1.0, True, 0), (1.0, False, 1), (0.0, False, 0), (0.0, True, 1)])
def test_what_is_sure_is_right_or_wrong_in_full(value: float, truth: bool, ece: float) -> None:
    found = of([value], [truth])
    assert found.ece == ece
    assert found.voxels[BINS - 1 if value else 0] == 1


def test_of_no_voxels_there_is_no_error() -> None:
    assert of([], []).ece is None
    assert of([], []).curve == [None] * BINS


def test_bins_are_weighted_by_their_voxels_and_cases_add_up_to_their_voxels_together() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(999).astype(np.float32)
    truth = rng.random(999) < 0.5  # low bins claim too little, high ones too much
    whole, parts = reliability(values, truth), [reliability(values[::3], truth[::3])]
    parts += [reliability(values[1::3], truth[1::3]), reliability(values[2::3], truth[2::3])]
    together = parts[0] + parts[1] + parts[2]
    np.testing.assert_array_equal(together.voxels, whole.voxels)
    assert together.ece == pytest.approx(whole.ece, abs=1e-12)
    expected = 0.0
    for low in range(BINS):
        inside = (values >= low / BINS) & (values < (low + 1) / BINS)
        expected += inside.mean() * abs(values[inside].mean() - truth[inside].mean())
    assert whole.ece == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_a_map_that_is_the_reference_has_no_error_within_the_union_s_box(
    files: tuple[Path, Path], kind: MapType
) -> None:
    write_shares(files[1], shares_of(tumor_labels()), kind)
    found = calibrate_case(NAME, *files)
    assert list(found) == list(TARGETS)
    for target, its in found.items():
        assert its.ece == 0, target
        assert its.voxels.sum() == 8 * 7 * 7  # blocks of seven, one of them a voxel further


def test_a_region_s_probability_is_the_sum_of_its_labels(files: tuple[Path, Path]) -> None:
    shares = np.zeros((4, *tumor_labels().shape), dtype=np.float32)
    shares[:] = np.array([0.4, 0.1, 0.2, 0.3])[:, None, None, None]
    write_shares(files[1], shares, "float32")
    found = calibrate_case(NAME, *files)
    claimed = {target: its.sums.sum() / its.voxels.sum() for target, its in found.items()}
    assert claimed == pytest.approx({"NCR": 0.1, "ED": 0.2, "ET": 0.3, "WT": 0.6, "TC": 0.4}, abs=1e-6)
    assert found["WT"].ece == pytest.approx(343 / 392 - 0.6, abs=1e-6)


def test_a_case_without_any_tumour_has_no_voxels(files: tuple[Path, Path]) -> None:
    for path in files:
        write_nifti(path, np.zeros_like(tumor_labels()))
    write_shares(files[1], shares_of(np.zeros_like(tumor_labels())))
    assert {its.ece for its in calibrate_case(NAME, *files).values()} == {None}


def test_a_case_without_a_map_is_named_with_the_remedy_and_the_others_are_judged(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    other = "BraTS-SSA-70002-000"
    write_case(tmp_path / "cases", other)
    write_nifti(tmp_path / "p" / f"{other}.nii.gz", tumor_labels())
    write_shares(files[1], shares_of(tumor_labels()))
    evaluation = score_cases(tmp_path / "p", find_cases([tmp_path / "cases"]))
    found = calibrate(evaluation.cases)
    assert list(found.cases) == [NAME]
    assert list(found.failures) == [other]
    assert "--probabilities" in found.failures[other]
    assert found.failures[other].startswith(f"case {other}: no {other}-probabilities.nii.gz in ")
    assert found.pooled()["WT"].ece == 0
    assert found.pooled([other]) == Calibration(cases={}, failures={}).pooled() == {}


def test_a_map_that_the_record_does_not_vouch_for_is_refused(files: tuple[Path, Path]) -> None:
    path = write_shares(files[1], shares_of(tumor_labels()))
    record = {"output_sha256": sha256(files[1].read_bytes()), "maps_sha256": {"probabilities": "0"}}
    (files[1].parent / f"{NAME}.json").write_text(json.dumps(record))
    with pytest.raises(CaseError, match="is not what its record was written with: segment it again"):
        calibrate_case(NAME, *files)
    (files[1].parent / f"{NAME}.json").write_text(json.dumps({**record, "maps_sha256": None}))
    with pytest.raises(CaseError, match="is not what its record was written with: segment it again"):
        calibrate_case(NAME, *files)
    record["maps_sha256"] = {"probabilities": sha256(path.read_bytes())}
    (files[1].parent / f"{NAME}.json").write_text(json.dumps(record))
    assert calibrate_case(NAME, *files)["WT"].ece == 0


def test_what_is_no_map_of_probabilities_is_refused_in_one_line(files: tuple[Path, Path]) -> None:
    def refused(said: str) -> None:
        with pytest.raises(CaseError, match=said) as caught:
            calibrate_case(NAME, *files)
        assert str(caught.value).startswith(f"case {NAME}: ")
        assert "\n" not in str(caught.value)

    path = write_shares(files[1], shares_of(tumor_labels()) * 0.5, "float32")
    refused("values are no probabilities of 4 labels")
    write_shares(files[1], shares_of(tumor_labels())[:3])
    refused(r"shape \(24, 20, 18, 3\), wanted \(24, 20, 18, 4\)")
    write_nifti(path, np.moveaxis(shares_of(tumor_labels()), 0, 3), rotation(20))
    refused(r"on the grid of BraTS-SSA-70001-000-seg\.nii\.gz")
    path.write_bytes(path.read_bytes()[:-200])
    refused("cannot be read")
    path.write_bytes(b"no image")
    refused("cannot be read")
