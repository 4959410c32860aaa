"""`ssa-fast export --backend trt` over a stand-in for TensorRT, and `trt-rtx` for real: what is printed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ssa_fast.cli.export_tensorrt import build
from ssa_fast.errors import BackendUnavailable, ConfigError
from ssa_fast.export import tensorrt_candidates
from ssa_fast.export.engine_folder import Place
from ssa_fast.model.bundle import read_bundle
from ssa_fast.volume.case import find_cases
from tests.backends.standin_tensorrt import install
from tests.cases import write_case

PROFILE = """
description = "a stand-in"
backends = ["trt"]
capability = "7.5"
window = [32, 32, 32]
precisions = ["float32", "float16"]
target_ms = 15.0
[boxes]
smallest = [16, 16, 16]
usual = [32, 32, 32]
largest = [48, 48, 48]
"""


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "standin.toml"
    path.write_text(PROFILE, encoding="utf-8")
    return str(path)


def test_the_table_names_every_candidate_and_the_last_line_how_to_run_the_best(
    profile: str,
    tiny_bundle_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(monkeypatch)
    times = iter([30.0, 30.0, 10.0, 10.0, 20.0, 20.0])  # plain, and by a graph
    monkeypatch.setattr(tensorrt_candidates, "_median_ms", lambda run, windows: next(times))
    cases = find_cases([write_case(tmp_path / "cases", "A")])
    build(read_bundle(tiny_bundle_path), profile, None, cases, Place(root=tmp_path / "engines"), is_rtx=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"TensorRT 10.16.1.11 builds tiny for profile {profile}: a stand-in"
    assert lines[1].split() == ["candidate", "built", "in", "memory", "a", "window", "equal", "labels", "verdict"]
    kept = next(line for line in lines if "kept (valid)" in line)
    assert kept.startswith("float16, strongly typed, 16x16x16 to 48x48x48")
    assert "10.0 ms" in kept
    assert "0.01 GB" in kept
    assert sum("strongly typed" in line or "weakly typed" in line for line in lines) == 3
    assert any(line.startswith("proven on case A: ") for line in lines)
    assert "target of 15 ms a window: met, with 10.0 ms" in lines
    fingerprint = read_bundle(tiny_bundle_path).sha256[:8]
    name = f"tiny-{fingerprint}--standin--float16--geforce-gtx-1650--tensorrt-10.16.1.11"
    folder = tmp_path / "engines" / name
    assert lines[-1] == f"wrote {folder}: run it with 'ssa-fast infer --bundle {folder} CASES'"


def test_tensorrt_rtx_says_that_it_is_a_check(
    profile: str, tiny_bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: pip install 'ssa-fast[trt-rtx]'")
    build(read_bundle(tiny_bundle_path), profile, None, [], Place(root=tmp_path / "engines"), is_rtx=True)
    lines = capsys.readouterr().out.splitlines()
    assert "no float32 3D convolution for Turing" in lines[2]
    assert lines[3].endswith("kept (built, not run)")
    assert lines[-1].endswith("a check that the graph builds within the profile's memory; it was not run")


def test_what_is_missing_is_told_before_anything_is_built(
    profile: str, tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = read_bundle(tiny_bundle_path)
    with pytest.raises(ConfigError, match="no profile 'gtx1660'"):
        build(bundle, "gtx1660", None, [], Place(root=tmp_path / "engines"), is_rtx=False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendUnavailable, match=r"'tensorrt' is not installed: pip install 'ssa-fast\[trt\]'"):
        build(bundle, profile, None, [], Place(root=tmp_path / "engines"), is_rtx=False)
    assert not (tmp_path / "engines").exists()
