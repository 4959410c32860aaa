"""Every form of a bundle on every backend, case by case, against torch float32: labels, Dice, logits, size and speed.

    python -m benchmarks.parity_table ssa_fast/pretrained/lite.onnx CASES --out parity.json

Cases are calibrated on and judged as `ssa-fast export --precision int8` does it. Times are ratios measured A B A B on
the first case, network only, after a warm-up that compiles.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.records import processor
from ssa_fast import hardware
from ssa_fast.backends import Backend, open_backend
from ssa_fast.config import to_mapping
from ssa_fast.export.convert import Form, form_of, int8_form
from ssa_fast.export.parity import Answer, answers_of, compare, limits_for, merged, open_reference, read_proofs
from ssa_fast.files import write_json
from ssa_fast.measure import machine_line
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.parity import Parity
from ssa_fast.volume.case import find_cases

BASE = "float32 by openvino float32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    bundle = read_bundle(given.bundle)
    name, reference = open_reference(bundle)
    with closing(reference):
        answers = answers_of(reference, read_proofs(find_cases(given.cases), bundle.spec.divisor))
    forms = {
        "float32": form_of(bundle, "float32"),
        "float16": form_of(bundle, "float16"),
        "int8": int8_form(bundle, answers, lambda one: open_backend("openvino", one)),
    }
    quantization = forms["int8"].quantization
    assert quantization is not None
    record: dict[str, Any] = {
        "what": "forms of the shipped bundle against torch float32 on whole brains, and how fast each is",
        "command": "python -m benchmarks.parity_table BUNDLE CASES --out FILE",
        "bundle_sha256": bundle.sha256,
        "reference": name,
        "machine": machine_line(f"{processor()}, shared with other work"),
        "bytes": {"bundle": len(bundle.content)} | {word: len(form.bundle.content) for word, form in forms.items()},
        "int8": to_mapping(quantization),
    }
    runs = _runs(forms)
    record["times_as_fast_as_" + BASE.replace(" ", "_")] = _ratios(runs, answers[0], given.rounds)
    record["parity"] = {}
    write_json(given.out, record)
    for word, backend in runs.items():
        limits = limits_for(word.split()[0], backend.device)
        each = [compare(name, [answer], backend, limits) for answer in answers]
        record["parity"][word] = _summary(each, set(quantization.calibrated_on), set(bundle.spec.trained_cases))
        write_json(given.out, record)
        print(f"{word}: {merged(each)}", flush=True)


def _runs(forms: dict[str, Form]) -> dict[str, Backend]:
    runs: dict[str, Backend] = {}
    for word, form in reversed(forms.items()):  # int8 first: a run that is stopped has what matters most
        runs[f"{word} by openvino float32"] = open_backend("openvino", form.bundle, "float32")
        if hardware.cpu().has_bf16 and word != "float16":  # OpenVINO widens float16: bf16 of it is bf16 of float32
            runs[f"{word} by openvino bf16"] = open_backend("openvino", form.bundle, "bf16")
        runs[f"{word} by ort"] = open_backend("ort", form.bundle)
    return runs


def _ratios(runs: dict[str, Backend], answer: Answer, rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {word: [] for word in runs}
    for number in range(rounds + 1):
        for word, backend in runs.items():
            start = time.perf_counter()
            backend.logits(answer.proof.windows)
            if number:  # the first compiles
                seconds[word].append(time.perf_counter() - start)
    pairs = {word: zip(seconds[BASE], ours, strict=True) for word, ours in seconds.items()}
    return {word: round(statistics.median(base / own for base, own in both), 2) for word, both in pairs.items()}


def _summary(each: list[Parity], calibrated: set[str], trained: set[str]) -> dict[str, Any]:
    sets = {
        "all": each,
        "not_calibrated_on": [parity for parity in each if parity.cases[0] not in calibrated],
        "not_trained_on": [parity for parity in each if parity.cases[0] not in trained],
    }
    return {
        "passed": merged(each).has_passed,
        **{word: _numbers(merged(chosen)) for word, chosen in sets.items() if chosen},
        "cases": {parity.cases[0]: _numbers(parity) for parity in each},
    }


def _numbers(parity: Parity) -> dict[str, Any]:
    return {
        "label_agreement": round(parity.label_agreement, 6),
        "dice_change": {region: round(change, 5) for region, change in parity.dice_change.items()},
        "mean_logit_error": round(parity.mean_logit_error, 5),
        "largest_logit_error": round(parity.largest_logit_error, 4),
    }


if __name__ == "__main__":
    main()
