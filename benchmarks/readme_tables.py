"""The tables of README.md's figures, each made of records alone, line by line in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.documents.records import fixed, regions
from benchmarks.ladder_figure import dice_words
from benchmarks.records import read_record
from benchmarks.targets import finding, load_targets

__all__ = ["TABLES", "cached_record"]

_REGIONS = ("WT", "TC", "ET")
_PATCH_HEAD = (
    "| network, backend, precision | ms, median (middle half) | GFLOP/s | share of the peak "
    "| labels as torch float32 | opening and first call, s | peak memory |"
)


@cache
def cached_record(records: Path, name: str) -> dict[str, Any]:
    """A record by its name, read once."""
    return read_record(records / f"{name}.json")


def _whole_case(records: Path) -> list[str]:
    lines = [
        "| backend | seconds a case, median (range) of the calls | peak memory | mean Dice WT / TC / ET |",
        "|---|---|---|---|",
    ]
    backends = cached_record(records, "whole-cases-fast")["backends"]
    for key, row in sorted(backends.items(), key=lambda form: form[1]["median_seconds"]):
        name, precision = key.split("-")
        low, median, high = (fixed(row[f"{which}_seconds"], 2) for which in ("min", "median", "max"))
        seconds, dice = f"{median} ({low} to {high})", regions(row["unseen_mean_dice"])
        lines.append(f"| `{name}` {precision} | {seconds} | {row['peak_memory_gb']:.2f} GB | {dice} |")
    return lines


_FORMS = {
    "float32 by openvino float32": "float32, `openvino`",
    "float32 by openvino bf16": "bf16, `openvino`",
    "int8 by openvino bf16": "int8 and bf16, `openvino`",
    "int8 by openvino float32": "int8 and float32, `openvino`",
    "float16 by openvino float32": "float16, `openvino` (widened)",
    "float32 by ort": "float32, `ort`",
    "float16 by ort": "float16, `ort`",
    "int8 by ort": "int8 and float32, `ort`",
}


def _forms(records: Path) -> list[str]:
    record = cached_record(records, "parity-fast")
    speed = record["times_as_fast_as_float32_by_openvino_float32"]
    lines = [
        "| form, by | file | least equal labels | mean Dice change WT / TC / ET | of held-out ones | speed |",
        "|---|---|---|---|---|---|",
    ]
    for key, words in _FORMS.items():
        row, kind = record["parity"][key], key.split()[0]
        size = record["bytes"]["bundle" if kind == "float32" else kind] / 1e6
        lines.append(
            f"| {words} | {size:.1f} MB | {100 * row['all']['label_agreement']:.3f} % | "
            f"{_changes(row['all'])} | {_changes(row['not_trained_on'])} | {speed[key]:.3g} |"
        )
    return lines


def _changes(row: Mapping[str, Any]) -> str:
    return " / ".join(f"{round(row['dice_change'][region], 4) + 0.0:.4f}" for region in _REGIONS)


def _peers(records: Path) -> list[str]:
    record = cached_record(records, "peers-reference")
    lines = [
        "| file to file | seconds a case | peak memory | times as fast as nnU-Net | as MONAI |",
        "|---|---|---|---|---|",
    ]
    for name, row in record["contestants"].items():
        ratios = record["times_as_fast"].get(name, {})
        told = [_interval(ratios[peer]) if peer in ratios else "" for peer in ("nnU-Net", "MONAI")]
        lines.append(
            f"| {name} | {row['median_seconds']:.1f} | {row['peak_memory_gb']:.2f} GB | {told[0]} | {told[1]} |"
        )
    return lines


def _interval(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.1f} ({ratio['low']:.1f} to {ratio['high']:.1f})"


def _ladder(records: Path) -> list[str]:
    """Of `fast`; nothing where it was not recorded."""
    lines: list[str] = []
    if (path := records / "ladder-fast.json").is_file():
        record = read_record(path)
        shape = " x ".join(map(str, record["input"][2:]))
        lines += [
            f"The ladder of `{record['network']}`: one technique a rung, from the normalized brain ({shape}) to its",
            f"labels (record: `{path.name}`):",
            "",
            f"![each rung's seconds and memory](benchmarks/results/{records.name}/{path.stem}.png)",
            "",
            "| rung, on which | seconds | times as fast as that | as the first | peak memory | Dice | |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, row in record["rungs"].items():
            gain = row["times_as_fast_as_below"]
            on = f", on {row['on']}" if row["on"] else ""
            verdict = ("kept" if row["is_kept"] else "dropped") + (f": {row['why']}" if row["why"] else "")
            times = "" if gain is None else f"{gain['median']:.2f}"
            lines.append(
                f"| {name}{on} | {row['seconds']:.2f} | {times} | {row['times_as_fast_as_the_first']:.1f} | "
                f"{row['peak_bytes'] / 1e9:.2f} GB | {dice_words(row)} | {verdict} |"
            )
        for other in record["elsewhere"]:
            values = ", ".join(f"{what} {value:g}" for what, value in other["values"].items())
            verdict = ("kept" if other["is_kept"] else "dropped") + f": {other['why']}"
            lines.append(f"| {other['name']} (`{other['record']}`): {values} | | | | | | {verdict} |")
        lines.append("")
    return lines


def _patch(records: Path) -> list[str]:
    """The rows of every machine whose suite was recorded; nothing where none was."""
    lines: list[str] = []
    for path in sorted(records.glob("*.json")):
        record = read_record(path)
        rows = (
            {name: row for name, row in record.get("rows", {}).items() if name.startswith("bench_patch[")}
            if "form" in record
            else {}
        )
        if not rows:
            continue
        busy = " (a busy machine)" if any(row["is_busy"] for row in rows.values()) else ""
        lines += [
            f"One patch of 4 x 128^3 on {path.stem}{busy}, arrays to labels (record: `{path.name}`):",
            "",
            _PATCH_HEAD,
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_patch_row(name, row) for name, row in rows.items()]
        lines.append("")
    return lines


def _patch_row(name: str, row: Mapping[str, Any]) -> str:
    about, seconds = row["about"], row["seconds"]
    words = name.removeprefix("bench_patch[").removesuffix("]").replace("-", ", ")
    share = "" if about["share_of_peak"] is None else f"{100 * about['share_of_peak']:.0f} %"
    labels = f"{100 * about['label_agreement']:.2f} %"
    if about["weights"] == "random":  # whose int8 was calibrated on a tiny case, which says nothing of trained ones
        labels = "random weights" if "int8" in words else f"{labels} (random weights)"
    memory = about["gpu_peak_bytes"] or about["peak_bytes"]
    return (
        f"| {words} | {1e3 * seconds['median']:.0f} ({1e3 * seconds['q1']:.0f} to {1e3 * seconds['q3']:.0f}) | "
        f"{about['gflop_a_second']:.0f} | {share} | {labels} | "
        f"{about['seconds_to_open'] + about['first_seconds']:.1f} | {memory / 1e9:.2f} GB |"
    )


def _scaling(records: Path) -> list[str]:
    """A line of each record of `fast`; nothing where none is."""
    lines = []
    if (path := records / "scaling-volume-fast.json").is_file():
        record = read_record(path)
        shapes = [" x ".join(map(str, point["shape"])) for point in record["volume"]]
        lines.append(
            f"`{record['network']}`: seconds grow with voxels to the power of "
            f"{record['seconds_by_voxels']['exponent']:.2f} ({shapes[0]} to {shapes[-1]}), memory by "
            f"{record['peak_bytes_a_voxel']:.0f} bytes a voxel; all threads are "
            f"{record['times_as_fast_with_all_threads']:.2f} times as fast as one (`{path.name}`)."
        )
    if (path := records / "scaling-cases-fast.json").is_file():
        record = read_record(path)
        drift = record["second_half_by_first"]
        lines.append(
            f"`{record['network']}`, {record['cases']} small cases in one process: the second half took "
            f"{drift['seconds']:.2f} times as long as the first and {statistics.median(record['resident_mb']):.0f} MB, "
            f"{drift['resident_mb_a_case']:+.2f} MB a case (`{path.name}`)."
        )
    if (path := records / "scaling-memory-fast.json").is_file():
        record = read_record(path)
        told = ", ".join(
            f"{row['granted']}: {row['network_seconds']:.1f} s, {row['passes']} passes, {row['peak_gb']:.2f} GB"
            if row["fits"]
            else f"{row['granted']}: refused"
            for row in record["budgets"]
        )
        lines.append(f"`{record['network']}`, one brain within `--max-ram`: {told} (`{path.name}`).")
    return lines


def _windows(records: Path) -> list[str]:
    lines = ["| in | `fast`: mean Dice WT / TC / ET | `lite` |", "|---|---|---|"]
    lite = cached_record(records, "epyc-2-threads")["windows"]
    for name, row in cached_record(records, "whole-cases-fast")["windows"].items():
        lines.append(f"| {name} | {regions(row)} | {regions(lite[name])} |")
    return lines


def _targets(records: Path) -> list[str]:
    """What was asked, and what came of it."""
    lines = ["| asked | wanted | found | | |", "|---|---|---|---|---|"]
    for target in load_targets():
        one = finding(target, records)
        value = "" if one.value is None else f"{one.value:.3g}"
        lines.append(f"| {target.what} | {target.wanted} | {value} | {target.unit} | {one.verdict} |")
    return lines


TABLES: Mapping[str, Callable[[Path], list[str]]] = {
    "forms": _forms,
    "ladder": _ladder,
    "patch": _patch,
    "peers": _peers,
    "scaling": _scaling,
    "targets": _targets,
    "whole case": _whole_case,
    "windows": _windows,
}
"""Name in the template -> what gives its lines."""
