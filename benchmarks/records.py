"""How numbers stand in a record, how records are read, and what they say of the machine."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ssa_fast import __version__, hardware
from ssa_fast.errors import ConfigError
from ssa_fast.measure import Ratio, installed_versions
from ssa_fast.model.spec import PRESETS, ModelSpec

__all__ = [
    "NEWEST",
    "SHOWN_GROUP",
    "commit",
    "find",
    "machine_facts",
    "machine_name",
    "preset_of",
    "processor",
    "read_record",
    "rounded",
]

NEWEST = Path(__file__).with_name("results") / __version__
"""The records of this version."""

SHOWN_GROUP = "1"
"""Of the search: the scanners that networks are shown with, as a fold of data/splits/brats_ssa_15_groups.toml."""

_PACKAGES = ("numpy", "torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "nnunetv2", "monai")
_TOLD_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "bf16", "i8mm")


def preset_of(spec: ModelSpec) -> str:
    """The preset whose shape a network has, whatever it is called, its norm folded or not; else its channels."""
    for name, preset in PRESETS.items():
        if spec.network in (preset, preset.folded, replace(preset.folded, norm="none")):
            return name
    return _channels(spec)


def rounded(ratio: Ratio) -> dict[str, float]:
    """A ratio by its fields, to three digits behind the point."""
    return {name: round(value, 3) for name, value in asdict(ratio).items()}


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ConfigError where there is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a record: {error}") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: not a record: a JSON object was expected")
    return record


def find(record: Mapping[str, Any], way: Sequence[str], name: str) -> float:
    """The number at the end of a way into a record. Raises ConfigError, naming the record, where there is none."""
    value: Any = record
    for place, key in enumerate(way):
        keys = [str(number) for number in range(len(value))] if isinstance(value, list) else list(_keys(value))
        if key not in keys:
            raise ConfigError(f"{name}: no '{' > '.join(way[: place + 1])}' in it; there are {', '.join(keys)}")
        value = value[int(key)] if isinstance(value, list) else value[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{name}: no number at '{' > '.join(way)}', but {value!r}")
    return float(value)


def machine_facts() -> dict[str, Any]:
    """The machine in plain values: processor, cores, its flags that matter, GPU and driver, memory, versions."""
    processor, gpus = hardware.cpu(), hardware.find_gpus()
    return {
        "cpu": processor.name,
        "cores": processor.cores,
        "threads": processor.threads,
        "flags": [flag for flag in _TOLD_FLAGS if flag in processor.flags],
        "memory_gb": round((hardware.total_memory_bytes() or 0) / 1e9, 1),
        "gpus": [gpu.name for gpu in gpus.gpus],
        "driver": gpus.driver,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {"ssa-fast": __version__, **installed_versions(_PACKAGES)},
    }


def machine_name(facts: Mapping[str, Any]) -> str:
    """What its record is called: the GPU where there is one, else processor and threads."""
    device = facts["gpus"][0] if facts["gpus"] else f"{facts['cpu']} {facts['threads']} threads"
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def processor() -> str:
    """The processor and its threads, as records say what ran something."""
    here = hardware.cpu()
    return f"{here.name}, {here.threads} threads"


def commit() -> str:
    """Of the checkout that is measured, with a plus where files differ from it; empty where git does not tell."""
    root = Path(__file__).resolve().parents[1]
    try:
        told = [
            subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True).stdout
            for command in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--", "ssa_fast", "benchmarks/*.py"],
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told[0].strip() + ("+" if told[1].strip() else "")


def _keys(value: Any) -> Iterable[str]:
    return value if isinstance(value, Mapping) else ()


def _channels(spec: ModelSpec) -> str:
    return "-".join(map(str, spec.network.channels)) + ("-half" if spec.network.stem == "half" else "")
