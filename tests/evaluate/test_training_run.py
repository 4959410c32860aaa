from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.evaluate.training_run import INFO, STATS, is_training_run, read_training_run
from ssa_fast.metrics.overlap import TARGETS


def epochs(
    count: int = 3, *, is_scored: bool = True, has_loss: bool = False, norm: bool = False
) -> list[dict[str, Any]]:
    """The middle one is the best; the loss is 1/2, 1/3, 1/4."""
    lines = []
    for epoch in range(1, count + 1):
        dice = {target: 0.8 - 0.1 * abs(epoch - 2) - 0.01 * place for place, target in enumerate(TARGETS)}
        held_out = {"dice": dice, "loss": 0.6 / epoch if has_loss else None, "cases": {"A": dice, "B": dice}}
        lines.append(
            {
                "epoch": epoch,
                "step": 100 * epoch,
                "loss": 1 / (1 + epoch),
                "learning_rate": 10.0**-epoch,
                "seconds": 1800.0,
                "peak_memory_bytes": 10**9 * epoch,
                "share_of_peak": 0.25,
                "gradient_norm": 2.0 / epoch if norm else None,
                "held_out": held_out if is_scored else None,
            }
        )
    return lines


def write_run(folder: Path, lines: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STATS).write_text(json.dumps(lines))
    info = {"network": "lite", "parameters": 3_176_604, "patch": [96, 96, 96], "machine": "A CPU; Linux"}
    (folder / INFO).write_text(json.dumps(info))
    return folder


def test_a_run_tells_its_best_epoch_its_cases_and_its_series(tmp_path: Path) -> None:
    run = read_training_run(write_run(tmp_path / "fold0", epochs()))
    assert run.name == "fold0"
    assert run.best is not None
    assert run.best["epoch"] == 2
    assert run.held_out == ["A", "B"]
    assert run.series("held_out", "dice", "NCR") == ([100, 200, 300], [0.7000000000000001, 0.8, 0.7000000000000001])
    assert run.series("gradient_norm") == ([], [])
    rows = dict(run.rows)
    assert rows["epochs, updates"] == "3, 300"
    assert rows["time"].startswith("1.50 h")
    assert rows["peak memory"].startswith("3.00 GB")
    assert rows["patch"] == "96 x 96 x 96"


def test_a_folder_is_a_run_by_its_record(tmp_path: Path) -> None:
    assert not is_training_run(tmp_path)
    assert is_training_run(write_run(tmp_path, epochs()))


@pytest.mark.parametrize("content", ["", "[]", "{}", '[{"epoch": 1}]', '[{"epoch": 1, "loss": "low"}]'])
def test_a_damaged_record_is_refused_with_the_remedy(tmp_path: Path, content: str) -> None:
    write_run(tmp_path, epochs())
    (tmp_path / STATS).write_text(content)
    with pytest.raises(
        ConfigError, match=r"training_stats\.json: cannot be read as a record of 'train' .* ended an epoch"
    ):
        read_training_run(tmp_path)
