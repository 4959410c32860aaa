"""`ssa-fast export`: the case on which a bundle is proven."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from ssa_fast.cli.export import command
from ssa_fast.errors import BundleError, ConfigError
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.checkpoint import save_checkpoint
from tests.cases import write_case
from tests.networks import tiny_checkpoint


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lite", "--precision", "int8", "--out", "x.onnx"), "int8 is calibrated on real brains: give --cases"),
        (("lite", "--precision", "bf16", "--out", "x.onnx"), "no bundle is in bf16: take --backend openvino"),
        (("lite", "--out", "folder"), "a bundle's name ends in .onnx"),
        (("lite",), "a bundle's name ends in .onnx"),
        (("lite", "--backend", "openvino", "--rewrite", "split-concat"), "--rewrite is for --backend ort"),
        (("lite", "--backend", "openvino", "--profile", "gtx1650"), "is for trt, ort, not for openvino"),
        (("last.safetensors", "--backend", "trt"), "ssa-fast export last.safetensors --out mine.onnx comes first"),
        (("lite", "--out", "x.onnx", "--name", "mine"), "are for checkpoints: a bundle keeps its own"),
        (("lite", "--backend", "openvino", "--postprocess", "clean"), "write a bundle with --postprocess"),
        (("lite", "--out", "x.onnx", "--score", "a=1"), "are for checkpoints: a bundle keeps its own"),
        (("lite", "--out", "x.onnx", "--profile", "h200"), "--profile is for engines"),
        (("lite", "--out", "x.onnx", "--force"), "--force is for engines"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = _run(*arguments)
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_a_checkpoints_postprocessing_travels_in_its_bundle(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.safetensors", tiny_checkpoint())
    out, case = tmp_path / "mine.onnx", write_case(tmp_path, "A", labels=False)
    done = _run(tmp_path / "last.safetensors", "--postprocess", "clean", "--case", case, "--out", out)
    assert done.exception is None, done.exception
    assert read_bundle(out).spec.postprocessing == "clean"


def test_a_bundle_can_be_given_another_postprocessing(tiny_bundle_path: Path, tmp_path: Path) -> None:
    out, case = tmp_path / "mended.onnx", write_case(tmp_path, "A")
    done = _run(tiny_bundle_path, "--postprocess", "lesions", "--case", case, "--out", out)
    assert done.exception is None, done.exception
    before, after = read_bundle(tiny_bundle_path), read_bundle(out)
    assert (before.spec.postprocessing, after.spec.postprocessing) == ("none", "lesions")
    assert dataclasses.replace(after.spec, postprocessing="none") == before.spec
    weights = after.weights()
    assert weights.keys() == before.weights().keys()
    assert all(np.array_equal(array, weights[name]) for name, array in before.weights().items())


def test_a_bundle_becomes_a_rewritten_one_with_the_same_spec(tiny_bundle_path: Path, tmp_path: Path) -> None:
    out, case = tmp_path / "rewritten.onnx", write_case(tmp_path, "A")
    done = _run(tiny_bundle_path, "--rewrite", "depth-to-space", "--case", case, "--out", out)
    assert done.exception is None, done.exception
    assert "computes in float32" in done.output
    assert "proven on case A" in done.stdout
    assert (done.stderr, "reference: A" in done.stdout) == ("reference: A\n", False)  # what it is at, apart
    assert read_bundle(out).spec == read_bundle(tiny_bundle_path).spec
    assert "ConvTranspose" not in {node.op_type for node in onnx.load(out).graph.node}


def test_a_bundle_without_checksum_gets_one_and_builds_no_engine(tiny_bundle_path: Path, tmp_path: Path) -> None:
    early, out, case = tmp_path / "early.onnx", tmp_path / "new.onnx", write_case(tmp_path, "A")
    early.write_bytes(tiny_bundle_path.read_bytes()[:-85])  # the entry of the checksum
    done = _run(early, "--case", case, "--out", out)
    assert done.exception is None, done.exception
    assert f"{early} has no checksum: whether it is as it was written cannot be told" in done.output
    assert read_bundle(out).has_checksum
    refused = _run(early, "--backend", "openvino", "--case", case, "--out", tmp_path / "engines")
    assert isinstance(refused.exception, BundleError)
    assert "has no checksum" in str(refused.exception)


def test_a_checkpoint_is_proven_on_all_the_cases_of_a_folder(tmp_path: Path) -> None:
    from ssa_fast.model.checkpoint import save_checkpoint
    from tests.networks import tiny_checkpoint  # needs torch

    for seed, name in enumerate(("A", "B", "C")):
        write_case(tmp_path / "cases", name, seed=seed, labels=False)
    save_checkpoint(tmp_path / "last.safetensors", tiny_checkpoint())
    out = tmp_path / "mine.onnx"
    done = _run(tmp_path / "last.safetensors", "--cases", tmp_path / "cases", "--out", out)
    assert done.exception is None, done.exception
    assert "proven on 3 cases" in done.stdout
    assert done.stderr.splitlines() == ["comparing A", "comparing B", "comparing C"]
    parity = read_bundle(out).parity
    assert parity is not None
    assert parity.cases == ("A", "B", "C")


@pytest.mark.slow
def test_the_shipped_bundle_is_proven_in_int8_on_a_real_brain(shared_ssa: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    done = _run("lite", "--precision", "int8", "--case", shared_ssa / "BraTS-SSA-00010-000", "--out", out)
    assert done.exception is None, done.exception
    bundle = read_bundle(out)
    assert bundle.arithmetic == "int8"
    assert bundle.parity is not None
    assert bundle.parity.has_passed
    assert len(bundle.content) < 4e6
