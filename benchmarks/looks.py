"""What several looks at a case are worth: by the axes that are mirrored, the Dice, and how far votes can be trusted.

    python -m benchmarks.looks CASES --bundle fast --out looks-fast.json

Labels are as the network gives them, before postprocessing. `benchmarks/documents/votes.py` makes tables of the record.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.command import infer
from benchmarks.records import commit, preset_of, processor
from ssa_fast.evaluate.scores import score_cases
from ssa_fast.files import write_json
from ssa_fast.labels import REGIONS
from ssa_fast.measure import machine_line
from ssa_fast.model.bundle import read_bundle
from ssa_fast.pretrained import bundle_path
from ssa_fast.volume.case import CaseFiles, find_cases

__all__ = ["AXES", "looks_of", "main"]

AXES = ("none", *("".join(axes) for count in (1, 2, 3) for axes in combinations("xyz", count)))
"""What is mirrored, in words of the record: nothing, and all that `infer --mirror` takes."""

_DIGITS = 4


def looks_of(bundle: Path, cases: Sequence[CaseFiles], folder: Path) -> dict[str, dict[str, Any]]:
    """By case: Dice, expected Dice and, of several votes, their agreement, by axes, WT TC ET. `folder` is filled."""
    found: dict[str, dict[str, Any]] = {
        files.name: {"dice": {}, "expected_dice": {}, "agreement": {}} for files in cases
    }
    for axes in AXES:
        out = folder / axes
        options = ["--bundle", str(bundle), "--postprocess", "none", "--uncertainty"]
        infer([files.folder for files in cases], out, *options, *([] if axes == "none" else ["--mirror", axes]))
        for scores in score_cases(out, cases).cases:
            dice = [scores.value("dice", region) for region in REGIONS]
            found[scores.name]["dice"][axes] = [round(value, _DIGITS) for value in dice]
        for name, numbers in found.items():
            doubt = json.loads((out / f"{name}.json").read_text())["doubt"]
            for kind in ("expected_dice", "agreement"):
                if doubt[kind]:  # one vote agrees with none
                    numbers[kind][axes] = [doubt[kind][region] for region in REGIONS]
        print(f"mirrored along {axes}: done", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--bundle", default="fast", help="a shipped bundle's name, or an .onnx file")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    path = bundle_path(given.bundle)
    bundle, cases = read_bundle(path), find_cases(given.cases)
    with TemporaryDirectory() as folder:
        found = looks_of(path, cases, Path(folder))
    record = {
        "what": "votes of infer by the axes mirrored: Dice of WT TC ET, the Dice expected by the probabilities, the "
        "votes' agreement, before postprocessing",
        "command": "python -m benchmarks.looks CASES --bundle BUNDLE --out FILE",
        "network": preset_of(bundle.spec),
        "bundle_sha256": bundle.sha256,
        "machine": machine_line(processor()),
        "commit": commit(),
        "order": list(REGIONS),
        "cases": {name: {"unseen": name not in bundle.spec.trained_cases} | numbers for name, numbers in found.items()},
    }
    write_json(given.out, record)


if __name__ == "__main__":
    main()
