"""Several processes that train one network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssa_fast.errors import ConfigError
from ssa_fast.model.checkpoint import load_checkpoint
from ssa_fast.train.group import Group, join_group
from ssa_fast.train.state import LAST
from tests.cases import write_case

RECIPE = """
patch = [32, 32, 32]
steps = 3
report_every = 1
epoch_steps = 2
warmup_steps = 0
precision = "float32"
"""


def test_a_process_alone_is_the_first_and_agrees_with_itself() -> None:
    group = Group()
    assert group.is_first
    assert group.any(True)
    assert not group.any(False)
    assert group.agree(0.1) == 0.1
    assert torch.equal(group.mean(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match="process 1 finds 1 GPUs: lower --nproc-per-node"):
        join_group()


def test_a_gpu_has_its_number_and_its_memory_can_be_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert join_group().device == torch.device("cuda", 0)  # torch takes no limit for a GPU without one


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    for number in range(3):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    (tmp_path / "short.toml").write_text(RECIPE)
    (tmp_path / "splits.toml").write_text('folds = [["Case-0"]]\n')
    folds = ("--splits", tmp_path / "splits.toml", "--fold", "0")
    arguments = ["train", tmp_path / "cases", "--recipe", tmp_path / "short.toml", *folds]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    two = _run([*torchrun, "-m", "ssa_fast", *arguments, "--out", tmp_path / "two"])
    one = _run([sys.executable, "-m", "ssa_fast", *arguments, "--batch", "2", "--out", tmp_path / "one"])
    assert two.count("step 3/3") == one.count("step 3/3") == 1  # the second process says nothing
    assert two.count("training on 2 cases") == 1
    first, second = (load_checkpoint(tmp_path / name / LAST) for name in ("one", "two"))
    for name, tensor in first.tensors.items():
        if name.startswith(("network.", "averaged.")):
            # AdamW's first updates are of one size: where a gradient is near 0, rounding may turn one round
            assert (second.tensors[name] - tensor).abs().mean() < 1e-4, name  # three updates moved them by 2e-3
        if name.endswith("exp_avg"):  # the gradients, with their scale
            assert float(second.tensors[name].norm()) == pytest.approx(float(tensor.norm()), rel=0.1), name
    for epoch, other in zip(first.facts["epochs"], second.facts["epochs"], strict=True):
        assert other["loss"] == pytest.approx(epoch["loss"], rel=1e-3)
    assert second.facts["epochs"][-1]["held_out"]["dice"] == pytest.approx(
        first.facts["epochs"][-1]["held_out"]["dice"], abs=0.01
    )


def _run(command: list[object]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
