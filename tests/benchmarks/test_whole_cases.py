"""Whole cases by the command, in every form: what is timed and what is scored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import whole_cases
from benchmarks.command import Run
from benchmarks.whole_cases import WINDOWS, main, row_of
from ssa_fast.errors import ConfigError
from tests.cases import write_case


def _run(seconds: float, network: float = 0.25, peak: float = 1.0) -> Run:
    return Run(
        seconds=seconds + 1,
        seconds_of_cases=seconds,
        network_seconds={"A": network, "B": 3 * network},
        peak_gb=peak,
        passes={"A": 1, "B": 1},
    )


def test_a_row_has_seconds_a_case_of_its_calls_and_the_most_memory() -> None:
    row = row_of([_run(4), _run(2, peak=1.5), _run(8)], {"WT": 0.9})
    assert (row["cases"], row["rounds"]) == (2, 3)
    assert (row["min_seconds"], row["median_seconds"], row["max_seconds"]) == (1, 2, 4)
    assert (row["network_seconds_in_the_command"], row["peak_memory_gb"]) == (0.5, 1.5)
    assert row["unseen_mean_dice"] == {"WT": 0.9}


def test_every_form_is_called_in_turn_and_scored_on_unseen_cases(
    tmp_path: Path, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [write_case(tmp_path / "cases", f"Tiny-{place:03d}", seed=place) for place in range(2)]
    called: list[tuple[str, ...]] = []

    def answer_with_the_references(folders: Sequence[Path], out: Path, *options: str) -> Run:
        out.mkdir(parents=True)
        for folder in folders:
            [reference] = folder.glob("*-seg.nii.gz")
            shutil.copy(reference, out / f"{folder.name}.nii.gz")
        called.append(options)
        return _run(2)

    monkeypatch.setattr(whole_cases, "infer", answer_with_the_references)
    record = tmp_path / "record.json"
    int8 = ["--int8-bundle", str(tiny_bundle_path)]  # its file is asked for; what is in it is not looked at here
    main([*map(str, cases), "--bundle", str(tiny_bundle_path), *int8, "--out", str(record), "--rounds", "2"])
    found = json.loads(record.read_text())
    assert {"openvino-float32", "ort-float32", "torch-float32"} <= found["backends"].keys()
    assert [form for form in found["backends"] if form.endswith("int8")] == ["openvino-int8"]
    assert all(options[options.index("--postprocess") + 1] == "none" for options in called)
    assert sum("--precision" not in options for options in called) == 2  # int8, once a round
    forms, half = len(found["backends"]), len(called[: -len(WINDOWS)]) // 2
    assert half == forms
    assert called[:half] == called[half : 2 * half]  # in turn, not one form after the other
    assert {row["unseen_mean_dice"]["WT"] for row in found["backends"].values()} == {1.0}
    assert found["windows"].keys() == WINDOWS.keys()
    assert [options[-3:] for options in called[2 * half + 1 :]] == [
        ("96", "96", "96"),
        ("64", "176", "144"),
        ("64", "64", "144"),
    ]
    assert found["unseen"] == ["Tiny-000", "Tiny-001"]


def test_a_bundle_that_has_seen_every_case_is_refused(
    tmp_path: Path, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = write_case(tmp_path / "cases", "nothing")  # the tiny bundle was trained on "nothing"
    monkeypatch.setattr(whole_cases, "infer", lambda *_: pytest.fail("nothing is run"))
    with pytest.raises(ConfigError, match="trained on all of these cases"):
        main([str(case), "--bundle", str(tiny_bundle_path), "--out", str(tmp_path / "record.json")])
