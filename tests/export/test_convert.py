"""Bundles made from bundles: proven, or not written."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ssa_fast.backends import Backend, open_backend
from ssa_fast.errors import ArithmeticUnavailable, BundleError, ParityError
from ssa_fast.export.convert import QUANTIZATION, Form, form_of, int8_form, write_form
from ssa_fast.export.notices import NOTICES
from ssa_fast.export.parity import LIMITS, Answer, answers_of, compare, open_reference, read_proofs
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.model.parity import Limits
from ssa_fast.volume.case import find_cases
from tests.cases import write_case

LOOSE = Limits(label_agreement=0.5, dice_change=1.0)


@pytest.fixture(scope="module")
def bundle(tiny_bundle_path: Path) -> Bundle:
    return read_bundle(tiny_bundle_path)


@pytest.fixture(scope="module")
def answers(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    folder = tmp_path_factory.mktemp("cases")
    for seed, name in enumerate(("A-001", "B-001")):
        write_case(folder, name, seed=seed)
    return answers_of(open_reference(bundle)[1], read_proofs(find_cases([folder]), bundle.spec.divisor))


def _by_ort(bundle: Bundle) -> Backend:
    return open_backend("ort", bundle)


def _damaged(form: Form, name: str) -> Form:
    """The form with one value of one weight changed."""
    model = onnx.load_from_string(form.bundle.content)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    array = numpy_helper.to_array(weight).copy()
    array.flat[0] += 8
    weight.CopyFrom(numpy_helper.from_array(array, name))
    return dataclasses.replace(form, bundle=dataclasses.replace(form.bundle, content=model.SerializeToString()))


def test_a_float16_bundle_is_written_with_its_arithmetic_and_its_parity(
    bundle: Bundle, answers: list[Answer], tmp_path: Path
) -> None:
    form = form_of(bundle, "float16")
    parity = compare("float32", answers, _by_ort(form.bundle), Limits(label_agreement=0.99, dice_change=0.05))
    write_form(form, parity, tmp_path / "half.onnx")
    written = read_bundle(tmp_path / "half.onnx")
    assert (written.arithmetic, written.parity, written.spec) == ("float16", parity, bundle.spec)
    assert open_backend("torch", written).spec == bundle.spec  # weights go by their names


@pytest.mark.parametrize("arithmetic", ["float32", "float16"])
def test_one_changed_weight_fails_parity_and_nothing_is_written(
    arithmetic: str, bundle: Bundle, answers: list[Answer], tmp_path: Path
) -> None:
    form = _damaged(form_of(bundle, arithmetic), "head.bias")  # type: ignore[arg-type]
    parity = compare("float32", answers, _by_ort(form.bundle), LIMITS["float16"])
    with pytest.raises(ParityError, match="nothing was written"):
        write_form(form, parity, tmp_path / "out" / "damaged.onnx")
    assert not (tmp_path / "out").exists()


def test_all_layers_are_in_int8_where_the_limits_allow(bundle: Bundle, answers: list[Answer], tmp_path: Path) -> None:
    form = int8_form(bundle, answers, _by_ort, limits=LOOSE)
    assert form.quantization is not None
    assert (form.quantization.kept, form.quantization.calibrated_on) == ((), ("A-001", "B-001"))
    parity = compare("float32", answers, _by_ort(form.bundle), LOOSE)
    written = write_form(form, parity, tmp_path / "int8.onnx")
    assert read_bundle(tmp_path / "int8.onnx").arithmetic == "int8"
    notes = {entry.key: entry.value for entry in onnx.load_from_string(written.content).metadata_props}
    assert json.loads(notes[QUANTIZATION])["kept"] == []


def test_layers_stay_in_float_until_the_limits_hold(
    bundle: Bundle, answers: list[Answer], caplog: pytest.LogCaptureFixture
) -> None:
    all_in_int8 = int8_form(bundle, answers, _by_ort, limits=LOOSE)
    seen = compare("float32", answers, _by_ort(all_in_int8.bundle), LOOSE).label_agreement
    wanted = Limits(label_agreement=seen + (1 - seen) / 4, dice_change=1.0)
    with caplog.at_level(logging.INFO, NOTICES.name):
        form = int8_form(bundle, answers, _by_ort, limits=wanted)
    said = [record.getMessage() for record in caplog.records if record.name == NOTICES.name]
    assert said[:4] == [
        "calibrating on 1/2 A-001",
        "calibrating on 2/2 B-001",
        "comparing 1/2 A-001",
        "comparing 2/2 B-001",
    ]
    assert any(words.startswith("which layers must stay in float: trying 16/16 ") for words in said)
    assert said[-1] == "timing it beside all layers in int8"
    assert form.quantization is not None
    assert 0 < len(form.quantization.kept) < 16
    assert compare("float32", answers, _by_ort(form.bundle), wanted).has_passed
    assert len(form.quantization.share_if_kept) == 16


def test_limits_that_int8_cannot_hold_are_an_error(bundle: Bundle, answers: list[Answer]) -> None:
    with pytest.raises(ParityError, match="take --precision float32"):
        int8_form(bundle, answers, _by_ort, limits=Limits(logit_error=1e-9))


def test_calibration_is_on_the_cases_that_the_network_knows(bundle: Bundle, answers: list[Answer]) -> None:
    known = dataclasses.replace(bundle, spec=dataclasses.replace(bundle.spec, trained_on="B-001 C-001"))
    quantization = int8_form(known, answers, _by_ort, limits=LOOSE).quantization
    assert quantization is not None
    assert quantization.calibrated_on == ("B-001",)


def test_a_form_is_made_from_float32_alone(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="give the float32 bundle it was made from"):
        form_of(form_of(bundle, "float16").bundle, "float32")


@pytest.mark.parametrize("name", ["ort", "openvino"])
def test_an_int8_bundle_runs_on_both_engines_and_says_so(name: str, bundle: Bundle, answers: list[Answer]) -> None:
    form = int8_form(bundle, answers, _by_ort, limits=LOOSE)
    backend = open_backend(name, form.bundle, "float32")
    assert (backend.device.precision, backend.device.others) == ("int8", "float32")
    assert "in int8, the other layers in float32, on" in str(backend.device)
    wanted = answers[0].logits.ravel()
    assert np.corrcoef(backend.logits(answers[0].proof.windows)[0].ravel(), wanted)[0, 1] > 0.98


def test_torch_refuses_int8_in_one_line(bundle: Bundle) -> None:
    with pytest.raises(ArithmeticUnavailable, match="is quantized to int8, which torch does not run: take --backend"):
        open_backend("torch", dataclasses.replace(bundle, arithmetic="int8"))
