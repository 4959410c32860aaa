"""What the benchmarks read off a call of `ssa-fast infer`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.command import infer
from tests.cases import write_case


def test_a_run_is_timed_whole_and_by_its_records(tiny_bundle_path: Path, tmp_path: Path) -> None:
    cases = [write_case(tmp_path / "cases", f"Tiny-{place:03d}", seed=place) for place in range(2)]
    options = ["--bundle", str(tiny_bundle_path), "--backend", "openvino", "--precision", "float32", "--force"]
    run = infer(cases, tmp_path / "out", *options)
    assert run.seconds > run.seconds_of_cases > sum(run.network_seconds.values()) > 0
    assert run.network_seconds.keys() == run.passes.keys() == {"Tiny-000", "Tiny-001"}
    assert set(run.passes.values()) == {1}
    assert 0.03 < run.peak_gb < 2


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 2: .*no such file or folder"):
        infer([tmp_path / "absent"], tmp_path / "out", "--bundle", "lite")
