"""Several looks at a case: what is asked of `infer`, and what is kept of its answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import looks
from benchmarks.looks import AXES, main
from tests.cases import write_case


def test_every_way_of_mirroring_is_scored_with_what_its_votes_say(
    tmp_path: Path, tiny_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = write_case(tmp_path / "cases", "Tiny-000")
    called: list[tuple[str, ...]] = []

    def answer_with_the_reference(folders: Sequence[Path], out: Path, *options: str) -> None:
        out.mkdir(parents=True)
        [reference] = folders[0].glob("*-seg.nii.gz")
        shutil.copy(reference, out / f"{folders[0].name}.nii.gz")
        regions = dict.fromkeys(("WT", "TC", "ET"), 0.9)
        agreement = regions if "--mirror" in options else {}
        doubt = {"doubt": {"expected_dice": regions, "agreement": agreement}}
        (out / f"{folders[0].name}.json").write_text(json.dumps(doubt))
        called.append(options)

    monkeypatch.setattr(looks, "infer", answer_with_the_reference)
    main([str(case), "--bundle", str(tiny_bundle_path), "--out", str(tmp_path / "record.json")])
    [(name, found)] = json.loads((tmp_path / "record.json").read_text())["cases"].items()
    assert (name, found["unseen"]) == ("Tiny-000", True)
    assert found["dice"] == dict.fromkeys(AXES, [1.0] * 3)
    assert found["expected_dice"] == dict.fromkeys(AXES, [0.9] * 3)
    assert found["agreement"] == dict.fromkeys(AXES[1:], [0.9] * 3)
    assert "--mirror" not in called[0]
    assert [options[-1] for options in called[1:]] == ["x", "y", "z", "xy", "xz", "yz", "xyz"]
