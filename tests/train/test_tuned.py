"""What was measured is found again for the same machine and network, and for no other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.train.config import ExecutionConfig, TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.tuned import TUNED, find_tuned, keep_tuned, tuning_key

EXECUTION = ExecutionConfig(precision="bf16", layout="channels_last", is_compiled=True, measured_on="2026-01-31")


def test_what_was_kept_is_found_and_the_rest_stays(tmp_path: Path) -> None:
    other = dataclasses.replace(EXECUTION, precision="float32")
    assert find_tuned(tmp_path / "new", "one") is None
    keep_tuned(tmp_path / "new", "one", EXECUTION)
    keep_tuned(tmp_path / "new", "two", other)
    assert find_tuned(tmp_path / "new", "one") == EXECUTION
    assert find_tuned(tmp_path / "new", "two") == other
    assert find_tuned(tmp_path / "new", "three") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"one": {"precision": "int4"}}', '{"one": {"precision": "bf16"}}'])
def test_a_damaged_file_is_one_line_and_written_anew(content: str, tmp_path: Path) -> None:
    (tmp_path / TUNED).write_text(content)
    with pytest.raises(ConfigError, match=TUNED):
        find_tuned(tmp_path, "one")
    keep_tuned(tmp_path, "one", EXECUTION)
    assert find_tuned(tmp_path, "one") == EXECUTION


@pytest.mark.parametrize(
    "change",
    [
        {"patch": (64, 64, 64)},
        {"batch": 2},
        {"preset": "reference"},
        {"norm": "batch"},
        {"recomputed_levels": 1},
        {"precision": "float32"},
        {"compile": "off"},
    ],
)
def test_another_network_or_patch_was_not_measured(change: dict[str, object]) -> None:
    config = TrainConfig()
    key = tuning_key(config, Group())
    assert tuning_key(dataclasses.replace(config, **change), Group()) != key
    same = dataclasses.replace(config, execution=EXECUTION, steps=7, seed=1)
    assert tuning_key(same, Group()) == key
