"""File to file, with the same weights: nnU-Net's predictor and MONAI's sliding window against `ssa-fast infer`.

    pytest benchmarks/ --benchmark-only -m peers -s

Inside the timed region: reading four NIfTI files, preparing, segmenting, writing one. Outside: starting Python, imports
and loading weights; the time from the start of a process to its first segmentation, which holds all of that, stands
beside. Each contestant is a process of its own with as many threads as the machine has, and waits while another works.
Peers: windows of 128^3, step 0.5, Gaussian weights, no mirroring, float32, as they do it on a CPU by default; what else
was set stands in benchmarks/peers/. Ours: one pass by OpenVINO, and once in the peers' windows, to show equal output.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.peers.contestant import Answer, Contestant, missing_peers
from benchmarks.peers.scores import brain_of, changes, dice, label_agreement, mean_of
from benchmarks.records import preset_of, processor, rounded
from ssa_fast import hardware
from ssa_fast.measure import machine_line, ratio_of
from ssa_fast.model.bundle import read_bundle
from ssa_fast.volume.case import CaseFiles, find_cases

PEERS = ("nnU-Net", "MONAI")
SAME_WINDOWS = "ours float32, the peers' windows"
WINDOW, SMALL_WINDOW = (128, 128, 128), (32, 32, 32)
CLAIMS = {"ours bf16": (18, 0.002), "ours int8": (30, 0.005)}  # of `reference`: times as fast, Dice change at most
LEAST_AGREEMENT = 0.99  # of ours in the peers' windows with each peer: what is left is how windows are laid and blended

Answers = dict[str, list[tuple[CaseFiles, Answer]]]


@pytest.mark.peers
@pytest.mark.benchmark(group="file to file")
def bench_file_to_file_against_peers(
    benchmark: BenchmarkFixture,
    asked_bundle: Path,
    int8_bundle: Path | None,
    rounds: int,
    tmp_path: Path,
    keep_record: Any,
    request: pytest.FixtureRequest,
) -> None:
    if missing := missing_peers():
        pytest.skip(f"{' and '.join(missing)} not installed: pip install 'ssa-fast[bench,torch,openvino]'")
    cases = _cases(request, tmp_path)
    window = SMALL_WINDOW if benchmark.disabled else WINDOW
    spec = read_bundle(asked_bundle).spec
    contestants = _contestants(asked_bundle, int8_bundle, window, tmp_path)
    same = Contestant(kind="ours", bundle=asked_bundle, window=window, log=tmp_path / "windows.log")
    answers: Answers = {name: [] for name in contestants}
    with ExitStack() as stack:
        for one in contestants.values():
            stack.enter_context(one)
        for files in [cases[0], *cases * rounds]:
            for name, one in contestants.items():
                answers[name].append((files, one.segment(files.folder, tmp_path / name)))
                print(f"{name}: {files.name} in {answers[name][-1][1].seconds:.2f} s", flush=True)
        fastest = contestants["ours bf16" if "ours bf16" in contestants else "ours float32"]
        benchmark.pedantic(lambda: fastest.segment(cases[-1].folder, tmp_path / "again"), rounds=1)
    with same:
        results = {SAME_WINDOWS: {files.name: same.segment(files.folder, tmp_path / "windows").path for files in cases}}
    results |= {name: {files.name: answer.path for files, answer in given} for name, given in answers.items()}
    record: dict[str, Any] = {
        "what": "file to file with the weights of one bundle: peers in overlapping windows, ours in one pass",
        "command": "pytest benchmarks/ --benchmark-only -m peers -s --bundle BUNDLE --int8-bundle INT8 --cases CASES",
        "network": preset_of(spec),
        "bundle_sha256": read_bundle(asked_bundle).sha256,
        "int8_bundle_sha256": None if int8_bundle is None else read_bundle(int8_bundle).sha256,
        "window_of_peers": window,
        "machine": machine_line(f"{processor()} each"),
        "peers": {library: metadata.version(library) for library in ("nnunetv2", "monai", "torch")},
        "rounds": rounds,
        "contestants": {name: _times(contestants[name], answers[name]) for name in contestants},
        "times_as_fast": {name: _ratios(name, answers) for name in contestants if name not in PEERS},
        **_equality(cases, results),
        **_dice(cases, results),
    }
    record["claims"] = _claims(record)
    benchmark.extra_info.update(record)
    keep_record(f"peers-{record['network']}", record)
    assert benchmark.disabled or min(record["label_agreement_in_equal_windows"].values()) >= LEAST_AGREEMENT


def _cases(request: pytest.FixtureRequest, tmp_path: Path) -> list[CaseFiles]:
    if request.config.getoption("benchmark_disable"):
        from tests.cases import write_case

        return find_cases([write_case(tmp_path / "cases", "Small-001", shape=(48, 44, 40))])
    asked = request.config.getoption("cases")
    return find_cases(asked) if asked else [request.getfixturevalue("case_files")]


def _contestants(
    bundle: Path, int8_bundle: Path | None, window: tuple[int, int, int], folder: Path
) -> dict[str, Contestant]:
    """In the order in which they run: a peer, ours, a peer, ours."""
    has_bf16 = hardware.cpu().has_bf16
    given: list[tuple[str, dict[str, Any]]] = [
        ("nnU-Net", {"kind": "nnunet", "window": window}),
        ("ours float32", {"kind": "ours", "window": None}),
        ("MONAI", {"kind": "monai", "window": window}),
    ]
    if has_bf16:
        given.insert(1, ("ours bf16", {"kind": "ours", "window": None, "precision": "bf16"}))
    if int8_bundle is not None:
        how = {"kind": "ours", "window": None, "bundle": int8_bundle, "precision": "bf16" if has_bf16 else "float32"}
        given.append(("ours int8", how))
    return {name: Contestant(**{"bundle": bundle, "log": folder / f"{name}.log", **how}) for name, how in given}


def _times(one: Contestant, given: list[tuple[CaseFiles, Answer]]) -> dict[str, float]:
    first, *seconds = (answer.seconds for _, answer in given)
    return {
        "median_seconds": round(statistics.median(seconds), 3),
        "min_seconds": round(min(seconds), 3),
        "max_seconds": round(max(seconds), 3),
        "seconds_from_start_to_first_segmentation": round(one.seconds_to_open + first, 2),
        "peak_memory_gb": round(max(answer.peak_bytes for _, answer in given) / 1e9, 2),
    }


def _ratios(name: str, answers: Answers) -> dict[str, dict[str, float]]:
    """How many times as long each peer takes; the first, which warms up, is left out."""
    ratios = {}
    for peer in PEERS:
        pairs = zip(answers[peer][1:], answers[name][1:], strict=True)
        ratios[peer] = rounded(ratio_of([(theirs.seconds, ours.seconds) for (_, theirs), (_, ours) in pairs]))
    return ratios


def _equality(cases: list[CaseFiles], results: dict[str, dict[str, Path]]) -> dict[str, Any]:
    """How equal the segmentations are: equal windows show equal weights and preparation, one pass what it changes."""
    agreement = dict.fromkeys(PEERS, 1.0)
    between: dict[str, dict[str, list[dict[str, float]]]] = {name: {} for name in results if name not in PEERS}
    for files in cases:
        brain = brain_of(files)
        for peer in PEERS:
            pair = results[SAME_WINDOWS][files.name], results[peer][files.name]
            agreement[peer] = min(agreement[peer], label_agreement(*pair, brain))
            for name, scores in between.items():
                scores.setdefault(peer, []).append(dice(results[name][files.name], results[peer][files.name]))
    return {
        "label_agreement_in_equal_windows": agreement,
        "dice_between": {
            name: {peer: mean_of(scores) for peer, scores in own.items()} for name, own in between.items()
        },
    }


def _dice(cases: list[CaseFiles], results: dict[str, dict[str, Path]]) -> dict[str, Any]:
    """Dice against the reference segmentations, where cases have one, and how much ours differs from others there."""
    scored = [files for files in cases if files.reference is not None]
    if not scored:
        return {"dice": {}, "dice_change": {}}
    each: dict[str, dict[str, dict[str, float]]] = {}
    for name, paths in results.items():
        each[name] = {files.name: dice(files.one("seg"), paths[files.name]) for files in scored}
    mean = {name: mean_of(list(scores.values())) for name, scores in each.items()}
    others = (*PEERS, "ours float32")
    return {
        "dice": {name: {"mean": mean[name], "cases": each[name]} for name in results},
        "dice_change": {
            name: {other: changes(mean[name], mean[other]) for other in others if other != name}
            for name in results
            if name not in PEERS
        },
    }


def _claims(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What was promised of `reference`, and whether it holds here, against the better of both peers."""
    claims: list[dict[str, Any]] = []
    for name, (wanted, most) in CLAIMS.items() if record["network"] == "reference" else ():
        if name not in record["times_as_fast"]:
            claims.append({"what": name, "holds": None, "why": "not measured: no bf16 here, or no --int8-bundle"})
            continue
        ratios = [ratio["median"] for ratio in record["times_as_fast"][name].values()]
        change = [abs(value) for peer in PEERS for value in record["dice_change"].get(name, {}).get(peer, {}).values()]
        claims.append(
            {
                "what": name,
                "times_as_fast": min(ratios),
                "wanted": wanted,
                "largest_dice_change": max(change, default=None),
                "wanted_at_most": most,
                "holds": min(ratios) >= wanted and max(change, default=1.0) <= most,
            }
        )
    return claims
