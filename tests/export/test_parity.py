"""Records of parity: of many cases, and what is allowed."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ssa_fast.backends import Device, Precision, open_backend
from ssa_fast.errors import BundleError, CaseError, ShapeError
from ssa_fast.export.parity import (
    LIMITS,
    Proof,
    answers_of,
    compare,
    fitted,
    limits_for,
    merged,
    open_reference,
    parities,
    read_proofs,
)
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.parity import Parity
from ssa_fast.volume.case import find_cases
from ssa_fast.volume.geometry import bounding_box
from tests.cases import tumor_labels, turned_affine, write_case, write_nifti


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


def test_parities_are_those_of_each_case_and_hold_one_at_a_time(tiny_bundle_path: Path, tmp_path: Path) -> None:
    bundle = read_bundle(tiny_bundle_path)
    name, reference = open_reference(bundle)
    candidate = open_backend("ort", bundle)
    cases = find_cases([write_case(tmp_path, case, seed=seed) for seed, case in enumerate(("A", "B"))])
    alive = []

    def watched() -> Iterator[Proof]:
        for files in cases:
            gc.collect()
            alive.append(sum(type(one) is Proof for one in gc.get_objects()))
            yield from read_proofs([files], bundle.spec.divisor)

    each = list(parities(watched(), (name, reference), candidate, LIMITS["float32"]))
    answers = answers_of(reference, read_proofs(cases, bundle.spec.divisor))
    assert merged(each) == compare(name, answers, candidate, LIMITS["float32"])
    assert alive[0] == alive[1]


def test_a_segmentation_on_another_grid_is_refused(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "A")
    shifted = np.eye(4)
    shifted[0, 3] = 5
    write_nifti(folder / "A-seg.nii.gz", tumor_labels(), shifted)
    with pytest.raises(CaseError, match=r"case A: .*A-seg\.nii\.gz: affine differs by 5 mm"):
        list(read_proofs(find_cases([folder]), 8))


def test_a_segmentation_lies_where_the_brain_does_whatever_the_axes_of_the_files(tmp_path: Path) -> None:
    [plain] = read_proofs(find_cases([write_case(tmp_path / "plain", "A")]), 8)
    [proof] = read_proofs(find_cases([write_case(tmp_path / "turned", "A", affine=turned_affine("LPS"))]), 8)
    assert proof.truth is not None
    assert plain.truth is not None
    boxes = [bounding_box(one.foreground).slices for one in (proof, plain)]
    turned, straight = proof.truth[boxes[0]], plain.truth[boxes[1]]
    assert straight.any()
    np.testing.assert_array_equal(turned[::-1, ::-1], straight)
    np.testing.assert_allclose(proof.windows[0, 0][boxes[0]][::-1, ::-1], plain.windows[0, 0][boxes[1]], atol=1e-5)


def test_a_reference_is_a_float32_bundle(tiny_bundle_path: Path) -> None:
    bundle = read_bundle(tiny_bundle_path)
    name, reference = open_reference(bundle)
    assert (name, reference.device.precision) == ("tiny in torch float32", "float32")
    with pytest.raises(BundleError, match="the reference is the float32 bundle"):
        open_reference(dataclasses.replace(bundle, arithmetic="int8"))


def _proof(*shape: int) -> Proof:
    places = np.arange(np.prod(shape)).reshape(shape)
    windows = np.stack([places] * 4)[np.newaxis].astype(np.float32)
    return Proof(name="A", windows=windows, foreground=places > 3, truth=(places % 4).astype(np.uint8))


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        ((), (16, 32, 48)),
        (((32, 32, 32),), (32, 32, 32)),
        (((16, 16, 16), (64, 64, 64)), (16, 32, 48)),
        (((32, 16, 16), (64, 32, 32)), (32, 32, 32)),
    ],
)
def test_a_proof_is_brought_to_a_shape_that_the_engine_takes(
    shapes: tuple[tuple[int, ...], ...], wanted: tuple[int, ...]
) -> None:
    proof = _proof(16, 32, 48)
    made = fitted(proof, shapes)
    assert made.truth is not None
    assert (made.windows.shape, made.foreground.shape, made.truth.shape) == ((1, 4, *wanted), wanted, wanted)
    assert (made is proof) == (wanted == (16, 32, 48))


def test_a_proof_is_cut_and_padded_about_its_middle() -> None:
    proof, made = _proof(16, 32, 48), fitted(_proof(16, 32, 48), ((32, 32, 32),))
    np.testing.assert_array_equal(made.windows[:, :, 8:24], proof.windows[..., 8:40])
    np.testing.assert_array_equal(made.foreground[8:24], proof.foreground[..., 8:40])
    np.testing.assert_array_equal(made.truth[8:24], proof.truth[..., 8:40])
    assert not made.windows[:, :, [*range(8), *range(24, 32)]].any()
