"""Records of parity: of many cases, and what is allowed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ssa_fast.backends import Device, Precision
from ssa_fast.errors import BundleError, ShapeError
from ssa_fast.export.parity import LIMITS, limits_for, merged, open_reference
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.parity import Parity


def _parity(name: str, agreement: float, error: float, change: float | None) -> Parity:
    return Parity(
        reference="a",
        candidate="b",
        cases=(name,),
        label_agreement=agreement,
        mean_logit_error=error / 10,
        largest_logit_error=error,
        dice_between=dict.fromkeys(("WT", "TC", "ET"), agreement),
        dice_change={} if change is None else dict.fromkeys(("WT", "TC", "ET"), change),
    )


def test_merged_parity_has_the_worst_of_the_cases_and_the_mean_change_of_those_with_a_segmentation() -> None:
    parity = merged([_parity("A", 1.0, 0.25, 0.002), _parity("B", 0.5, 0.75, 0.004), _parity("C", 1.0, 0.5, None)])
    assert parity.cases == ("A", "B", "C")
    assert (parity.label_agreement, parity.largest_logit_error) == (0.5, 0.75)
    assert parity.mean_logit_error == pytest.approx(0.05)
    assert parity.dice_change["TC"] == pytest.approx(0.003)
    assert parity.dice_between["ET"] == pytest.approx(2.5 / 3)


def test_a_nan_in_one_case_is_a_nan_in_all() -> None:
    assert not merged([_parity("A", 1.0, 0.1, 0.0), _parity("B", 1.0, float("nan"), 0.0)]).has_passed


def test_merging_nothing_is_refused() -> None:
    with pytest.raises(ShapeError, match="no case to compare on"):
        merged([])


@pytest.mark.parametrize(
    ("arithmetic", "precision", "others", "wanted"),
    [
        ("float32", "float32", None, "float32"),
        ("float16", "float32", None, "float16"),
        ("float32", "bf16", None, "bf16"),
        ("int8", "int8", "bf16", "int8"),
    ],
)
def test_the_limits_are_those_of_the_coarsest_precision(
    arithmetic: str, precision: Precision, others: Precision | None, wanted: str
) -> None:
    device = Device(engine="e", name="n", precision=precision, others=others)
    assert limits_for(arithmetic, device) is LIMITS[wanted]


def test_a_reference_is_a_float32_bundle(tiny_bundle_path: Path) -> None:
    bundle = read_bundle(tiny_bundle_path)
    name, reference = open_reference(bundle)
    assert (name, reference.device.precision) == ("tiny in torch float32", "float32")
    with pytest.raises(BundleError, match="the reference is the float32 bundle"):
        open_reference(dataclasses.replace(bundle, arithmetic="int8"))
