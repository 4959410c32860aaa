"""`ssa-fast infer` over whole cases, files to files, in every form that this machine runs: seconds, memory and Dice.

    python -m benchmarks.whole_cases CASES --bundle fast --int8-bundle INT8 --out whole-cases-fast.json

Each form is a call of the command over all cases; forms take turns, so that a machine that gets slower does so for all.
Int8 is run by OpenVINO, where it is given. Nothing is postprocessed, neither what is timed nor what is scored: cases
that the bundle was not trained on, which are cut into windows, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.command import Run, infer
from benchmarks.networks import runs_here
from benchmarks.quiet import Meter
from benchmarks.records import commit, preset_of, processor
from ssa_fast.errors import ConfigError
from ssa_fast.evaluate.scores import score_cases
from ssa_fast.files import write_json
from ssa_fast.labels import REGIONS
from ssa_fast.measure import machine_line
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.pretrained import bundle_path
from ssa_fast.volume.case import CaseFiles, find_cases

__all__ = ["WINDOWS", "main", "row_of"]

WINDOWS = {
    "one pass": (),
    "96 x 96 x 96": (96, 96, 96),
    "64 x 176 x 144": (64, 176, 144),
    "64 x 64 x 144": (64, 64, 144),
}
"""What unseen cases are cut into: words -> edges; none: not at all."""


def row_of(runs: Sequence[Run], unseen_dice: Mapping[str, float]) -> dict[str, Any]:
    """One form over all cases: seconds a case of each call, from the network being open to the end of the process."""
    cases = len(runs[0].passes)
    seconds = [run.seconds_of_cases / cases for run in runs]
    network = [fmean(run.network_seconds.values()) for run in runs]
    return {
        "cases": cases,
        "rounds": len(runs),
        "median_seconds": round(median(seconds), 3),
        "min_seconds": round(min(seconds), 3),
        "max_seconds": round(max(seconds), 3),
        "network_seconds_in_the_command": round(median(network), 3),
        "peak_memory_gb": max(run.peak_gb for run in runs),
        "unseen_mean_dice": dict(unseen_dice),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises ConfigError where the bundle was trained on all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--bundle", default="fast", help="a shipped bundle's name, or an .onnx file")
    parser.add_argument("--int8-bundle", type=Path, help="the same in int8, by `ssa-fast export --precision int8`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3, help="calls a form")
    given = parser.parse_args(arguments)
    path = bundle_path(given.bundle)
    bundle, cases = read_bundle(path), find_cases(given.cases)
    unseen = [files for files in cases if files.name not in bundle.spec.trained_cases]
    if not unseen:
        raise ConfigError(f"{path}: was trained on all of these cases, so no Dice would say anything: give others too")
    meter = Meter()
    with TemporaryDirectory() as folder:
        backends = _forms(path, given.int8_bundle, cases, unseen, given.rounds, Path(folder))
        windows = {
            words: _dice_in_windows(path, edges, unseen, Path(folder) / f"windows-{words}")
            for words, edges in WINDOWS.items()
        }
    write_json(given.out, _about(bundle, given.int8_bundle, unseen, meter) | {"backends": backends, "windows": windows})


def _about(bundle: Bundle, int8: Path | None, unseen: Sequence[CaseFiles], meter: Meter) -> dict[str, Any]:
    return {
        "what": "ssa-fast infer over whole cases, files to files, before postprocessing, each form in turn; mean Dice "
        "of the unseen ones, whole and, by OpenVINO in bf16, cut into windows",
        "command": "python -m benchmarks.whole_cases CASES --bundle BUNDLE --int8-bundle INT8 --out FILE",
        "network": preset_of(bundle.spec),
        "bundle_sha256": bundle.sha256,
        "int8_bundle_sha256": None if int8 is None else read_bundle(int8).sha256,
        "unseen": [files.name for files in unseen],
        "machine": machine_line(processor()),
        "commit": commit(),
        "foreign_share": meter.foreign(),
    }


def _forms(
    bundle: Path, int8: Path | None, cases: Sequence[CaseFiles], unseen: Sequence[CaseFiles], rounds: int, folder: Path
) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {}
    for number in range(rounds):
        for backend, precision in runs_here():
            is_int8 = precision == "int8"
            if is_int8 and (int8 is None or backend != "openvino"):
                continue
            options = ["--backend", backend, "--bundle", str(int8 if is_int8 else bundle), "--postprocess", "none"]
            options += [] if is_int8 else ["--precision", precision]
            form = f"{backend}-{precision}"
            run = infer([files.folder for files in cases], folder / f"{form}-{number}", *options)
            runs.setdefault(form, []).append(run)
            print(f"{form}: {run.seconds_of_cases / len(cases):.2f} s a case", flush=True)
    return {form: row_of(found, _dice(folder / f"{form}-0", unseen)) for form, found in runs.items()}


def _dice_in_windows(bundle: Path, edges: Sequence[int], unseen: Sequence[CaseFiles], folder: Path) -> dict[str, float]:
    options = ["--backend", "openvino", "--precision", "bf16", "--bundle", str(bundle), "--postprocess", "none"]
    options += ["--window", *map(str, edges)] if edges else []
    infer([files.folder for files in unseen], folder, *options)
    return _dice(folder, unseen)


def _dice(predictions: Path, cases: Sequence[CaseFiles]) -> dict[str, float]:
    found = score_cases(predictions, cases)
    return {region: round(found.mean("dice", region), 5) for region in REGIONS}


if __name__ == "__main__":
    main()
