"""What was measured to be fastest, kept on this machine: one JSON file, an entry a device and network."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import torch

from ssa_fast import hardware
from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import ConfigError
from ssa_fast.files import write_json
from ssa_fast.train.config import ExecutionConfig, TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.placement import choose_placement

__all__ = ["TUNED", "find_tuned", "keep_tuned", "threads_tuned", "tuning_key"]

TUNED = "tuned.json"
_THREADS = re.compile(r"(?<= )\d+ threads")


def tuning_key(config: TrainConfig, group: Group) -> str:
    """All that decides which way is fastest, in words: device, driver, versions, network, patch, what is left open."""
    placement = choose_placement(dataclasses.replace(config, execution=None), group)
    if group.device.type == "cuda":
        versions = f"driver {hardware.nvidia_driver_version()}, CUDA {torch.version.cuda}, "
        versions += f"cuDNN {torch.backends.cudnn.version()}"
    else:
        versions = f"{torch.get_num_threads()} threads"
    network = config.network
    return "; ".join(
        (
            f"{placement.name}, {versions}, torch {torch.__version__}",
            network.words,
            f"{config.batch} x {config.patch}, {config.recomputed_levels} levels recomputed",
            f"{config.supervised_levels} levels supervised",
            f"precision {config.precision}, layout {config.layout}, compile {config.compile}",
        )
    )


def find_tuned(folder: Path, key: str) -> ExecutionConfig | None:
    """What was kept under `key`, if anything was. Raises ConfigError if the file is damaged."""
    path = folder / TUNED
    entry = _entries(path).get(key)
    return None if entry is None else from_mapping(ExecutionConfig, entry, where=f"{path}: '{key}'")


def threads_tuned(folder: Path, key: str) -> list[int]:
    """The numbers of threads for which something was kept that else is of `key`. Raises as `find_tuned`."""
    bare = _THREADS.sub("", key)
    others = [other for other in _entries(folder / TUNED) if other != key and _THREADS.sub("", other) == bare]
    return sorted(int(match[0].split()[0]) for match in map(_THREADS.search, others) if match)


def keep_tuned(folder: Path, key: str, execution: ExecutionConfig) -> None:
    """Keep it beside the others. Of a damaged file nothing is kept but this."""
    path = folder / TUNED
    try:
        entries = _entries(path)
    except ConfigError:  # `find_tuned` has told of it
        entries = {}
    write_json(path, {**entries, key: to_mapping(execution)})


def _entries(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # ValueError: neither JSON nor UTF-8
        raise ConfigError(f"{path}: cannot be read ({error}): '--tune' writes it anew") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path}: damaged: holds {type(entries).__name__}, wanted a table: '--tune' writes it anew")
    return entries
