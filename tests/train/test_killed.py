"""A run that is killed again and again, at moments that nothing in it knows of."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssa_fast.model.checkpoint import load_checkpoint
from ssa_fast.train.state import LAST
from tests.cases import write_case

KILLS = 10
RECIPE = """
patch = [16, 16, 32]
steps = 80
report_every = 1
checkpoint_every = 2
epoch_steps = 30
warmup_steps = 5
precision = "float32"
"""


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    for number in range(2):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    (tmp_path / "short.toml").write_text(RECIPE)
    command = [sys.executable, "-u", "-m", "ssa_fast", "train", tmp_path / "cases", "--recipe", tmp_path / "short.toml"]
    subprocess.run([*command, "--out", tmp_path / "whole"], check=True, capture_output=True)
    moments = random.Random(0)
    for _ in range(KILLS):
        _kill_after([*command, "--out", tmp_path / "killed"], moments.randint(1, 8))
    subprocess.run([*command, "--out", tmp_path / "killed"], check=True, capture_output=True)
    whole, killed = (load_checkpoint(tmp_path / name / LAST) for name in ("whole", "killed"))
    assert killed.facts["step"] == 80
    assert killed.tensors.keys() == whole.tensors.keys()
    for name, tensor in whole.tensors.items():
        assert torch.equal(killed.tensors[name], tensor), name


def _kill_after(command: list[object], reports: int) -> None:
    """Begin, and kill in whatever it does after it has reported so many steps."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        seen += line.startswith("step ")
        if seen == reports:
            break
    process.kill()
    process.stdout.close()
    assert process.wait() == -9, "it had ended before it was killed"
