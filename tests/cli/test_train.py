"""Training from the command line: it stops between steps, and goes on."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch.optim.optimizer import register_optimizer_step_post_hook

from ssa_fast.cli import tuning
from ssa_fast.cli.export import command as export
from ssa_fast.cli.options import bytes_of
from ssa_fast.cli.train import command
from ssa_fast.errors import BackendUnavailable, BudgetError, CaseError, CheckpointError, ConfigError
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.checkpoint import load_checkpoint, save_checkpoint
from ssa_fast.model.spec import PRESETS, UNetConfig
from ssa_fast.train import cases as case_store
from ssa_fast.train import config as config_module
from ssa_fast.train.config import load_recipe
from ssa_fast.train.crossvalidate import CROSS_VALIDATION
from ssa_fast.train.dataset import load_training_case
from ssa_fast.train.memory import planned_memory
from ssa_fast.train.records import STATS
from tests.cases import write_case
from tests.networks import random_checkpoint, tiny_config

CONFIG = """
patch = [16, 16, 16]
steps = 4
report_every = 4
precision = "float32"
"""


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PRESETS, "fast", tiny_config())
    monkeypatch.setattr(tuning, "cache_folder", lambda: tmp_path / "cache")  # what was measured here is not asked


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cases/ and config.toml."""
    folder = tmp_path_factory.mktemp("inputs")
    write_case(folder / "cases", "Case-0")
    write_case(folder / "cases", "Case-1", labels=False)
    (folder / "config.toml").write_text(CONFIG)
    (folder / "splits.toml").write_text('folds = [["Case-1"]]')
    return folder


def _train(inputs: Path, out: Path, *more: object) -> Result:
    arguments = [inputs / "cases" / "Case-0", "--recipe", inputs / "config.toml", "--out", out, *more]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_freed_memory_is_kept_where_the_network_trains_on_a_processor(
    inputs: Path, tmp_path: Path, kept_memory: list[bool]
) -> None:
    assert _train(inputs, tmp_path).exit_code == 0
    assert len(kept_memory) == (0 if torch.cuda.is_available() else 1)


def test_shipped_weights_go_by_their_name(inputs: Path, tmp_path: Path) -> None:
    done = _train(inputs, tmp_path, "--from", "fast")  # another network than the tiny one that is trained here
    assert isinstance(done.exception, CheckpointError)
    assert "fast.onnx: holds 'fast'" in str(done.exception)


def test_the_plan_says_that_shipped_weights_have_no_last_norm(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = dataclasses.replace(tiny_config(), full_norm="ghost-batch")
    monkeypatch.setitem(PRESETS, "fast", preset)
    save_checkpoint(tmp_path / "start.safetensors", random_checkpoint(preset.folded))
    done = _train(inputs, tmp_path / "run", "--from", tmp_path / "start.safetensors")
    assert done.exit_code == 0, done.output
    assert "network fast without its last norm, 1 patches an update" in done.output
    assert "network fast without its last norm" in _train(inputs, tmp_path / "run", "--steps", "5").output


def test_several_teachers_are_taken(inputs: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "taught.toml"
    recipe.write_text((inputs / "config.toml").read_text() + "\n[loss]\ndistillation = 1.0\n")
    done = _train(inputs, tmp_path / "run", "--recipe", recipe, "--teacher", "lite", "--teacher", "fast")
    assert done.exit_code == 0, done.output
    assert re.search(r"from the answers of lite \(\S+lite\.onnx\), fast \(\S+fast\.onnx\)\n", done.output)
    assert len(load_checkpoint(tmp_path / "run" / "last.safetensors").facts["taught_by"].split()) == 2


def test_a_run_of_another_preset_is_named(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "lite", tiny_config("batch"))
    assert _train(inputs, tmp_path, "--preset", "lite").exit_code == 0
    done = _train(inputs, tmp_path)
    assert "was trained with another preset ('lite', this run trains 'fast'): give" in str(done.exception)


def test_a_run_that_holds_nothing_out_says_so(inputs: Path, tmp_path: Path) -> None:
    done = _train(inputs, tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("nothing is held out") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_costs_nothing(number: signal.Signals, inputs: Path, tmp_path: Path) -> None:
    assert _train(inputs, tmp_path / "whole").exit_code == 0
    updates: list[int] = []

    def interrupt(*_: object) -> None:  # the weights are new, their average and the step's number are not yet
        updates.append(1)
        if len(updates) == 2:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # as `timeout` may do

    hook = register_optimizer_step_post_hook(interrupt)
    try:
        stopped = _train(inputs, tmp_path / "broken")
    finally:
        hook.remove()
    last = tmp_path / "broken" / "last.safetensors"
    assert stopped.exit_code != 0
    assert f"saved step 2 of 4 in {last}: the same command goes on there" in stopped.output
    assert load_checkpoint(last).facts["step"] == 2
    gone_on = _train(inputs, tmp_path / "broken")
    assert gone_on.exit_code == 0
    assert f"wrote {last}; next: ssa-fast export {last}" in gone_on.output
    whole = load_checkpoint(tmp_path / "whole" / "last.safetensors")
    for name, tensor in load_checkpoint(last).tensors.items():
        assert torch.equal(tensor, whole.tensors[name]), name


def test_a_finished_run_is_said_to_be_finished_and_gone_on_with_for_more_steps(inputs: Path, tmp_path: Path) -> None:
    assert _train(inputs, tmp_path).exit_code == 0
    last = tmp_path / "last.safetensors"
    again = _train(inputs, tmp_path)
    assert again.exit_code == 0
    assert f"already finished: {last} holds 4 steps; more --steps go on with it; next: ssa-fast export" in again.output
    assert "wrote" not in again.output
    more = _train(inputs, tmp_path, "--steps", 5)
    assert f"wrote {last}" in more.output
    assert load_checkpoint(last).facts["step"] == 5


@pytest.mark.parametrize("preset", ["lite", "fast", "reference"])
def test_what_is_said_to_come_next_works_as_it_stands(
    preset: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "lite", tiny_config())
    monkeypatch.setitem(PRESETS, "reference", tiny_config("batch"))
    deep = UNetConfig(
        channels=(4, 6, 8), norm="instance", stem="half", convolutions=(1, 2, 3), decoder_convolutions=(1, 1)
    )
    monkeypatch.setitem(PRESETS, "fast", deep)
    out = tmp_path / "my runs"
    done = _train(inputs, out, "--preset", preset, "--steps", 1)
    program, verb, *words = shlex.split(done.output.partition("next: ")[2])
    assert (program, verb) == ("ssa-fast", "export")
    exported = CliRunner().invoke(export, [*words, "--case", str(inputs / "cases" / "Case-0")])
    assert exported.exit_code == 0, (exported.output, exported.exception)
    assert read_bundle(out / f"{preset}.onnx").spec.name == preset


def test_a_held_out_case_without_a_reference_is_an_error_and_not_passed_over(inputs: Path, tmp_path: Path) -> None:
    done = _train(
        inputs, tmp_path / "out", inputs / "cases" / "Case-1", "--splits", inputs / "splits.toml", "--fold", 0
    )
    assert isinstance(done.exception, CaseError)
    assert "case Case-1: no seg in" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("--recipe", "small.toml"), "leaves one voxel at the deepest level"),
        (("cases/Case-1",), "case Case-1: no seg in"),
        (("--splits", "alone.toml", "--fold", "0"), "no case is left to train on"),
        (("--precision", "fp16", "--tune"), "precision fp16 needs a CUDA GPU"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_said(
    settings: tuple[str, ...], words: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    (inputs / "small.toml").write_text(CONFIG.replace("16, 16, 16", "8, 8, 8"))
    (inputs / "alone.toml").write_text('folds = [["Case-0"]]')
    refused = _train(inputs, tmp_path / "out", *settings)
    assert words in str(refused.exception)
    assert refused.output == ""


def test_whole_brain_from_nothing_is_warned_of_once_a_run(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(str(inputs / "config.toml"))
    monkeypatch.setattr(config_module, "load_recipe", lambda name: recipe)  # brains as large as that take minutes
    arguments = [str(inputs / "cases" / "Case-0"), "--recipe", "whole_brain", "--out"]

    def warnings(*more: str) -> int:
        done = CliRunner().invoke(command, [*arguments, *more])
        assert done.exit_code == 0, done.output
        return done.stderr.count("warning: whole_brain begins with random weights")

    assert warnings(str(tmp_path / "one")) == 1
    assert warnings(str(tmp_path / "one"), "--steps", "5") == 0
    assert warnings(str(tmp_path / "two"), "--from", str(tmp_path / "one" / "last.safetensors")) == 0
    assert "warning" not in _train(inputs, tmp_path / "three").output


@pytest.mark.parametrize(
    ("size", "seen"), [("3.41GB", 3_410_000_000), ("2 GiB", 2 * 1024**3), ("500m", 500_000_000), ("12", 12)]
)
def test_a_size_is_bytes(size: str, seen: int) -> None:
    assert bytes_of(size) == seen


def test_a_batch_is_split_to_keep_to_the_memory(inputs: Path, tmp_path: Path) -> None:
    (inputs / "two.toml").write_text(CONFIG.replace("\n", "\nbatch = 2\n", 1))
    case, recipe = str(inputs / "cases" / "Case-0"), str(inputs / "two.toml")
    needed = planned_memory(load_recipe(recipe), 4).peak
    arguments = [case, "--recipe", recipe, "--out", str(tmp_path / "run"), "--max-memory"]
    done = CliRunner().invoke(command, [*arguments, str(needed - 1)])
    assert done.exit_code == 0, done.output
    assert "2 x 1 patches an update" in done.output or "levels recomputed" in done.output
    refused = CliRunner().invoke(command, [*arguments, "1kB"])
    assert isinstance(refused.exception, BudgetError)
    assert CliRunner().invoke(command, [*arguments, "much"]).exit_code == 2


def test_every_fold_is_trained_scored_and_put_into_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        case_store, "load_training_case", lambda files: read.append(files.name) or load_training_case(files)
    )
    for number in range(3):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    (tmp_path / "folds.toml").write_text('folds = [["Case-0"], ["Case-1", "Case-2"]]')
    (tmp_path / "config.toml").write_text(CONFIG)
    arguments = [tmp_path / "cases", "--recipe", tmp_path / "config.toml", "--out", tmp_path / "run"]
    arguments += ["--splits", tmp_path / "folds.toml", "--fold", "all"]
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert "training on 2 cases, validating on 1" in done.output
    assert "nothing is held out" not in done.output
    assert "training on 1 cases, validating on 2" in done.output
    assert "mean of folds" in done.output
    assert sorted(read) == ["Case-0", "Case-1", "Case-2"]  # once each, whatever the number of folds
    found = json.loads((tmp_path / "run" / CROSS_VALIDATION).read_text())
    assert set(found["cases"]) == {"Case-0", "Case-1", "Case-2"}
    for fold in (0, 1):
        last = json.loads((tmp_path / "run" / f"fold{fold}" / STATS).read_text())[-1]
        assert found["folds"][str(fold)]["WT"] == last["held_out"]["dice"]["WT"]
    again = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert again.output.count("already finished") == 2
    assert "mean of folds" in again.output


def test_a_fold_is_a_number_or_all(inputs: Path, tmp_path: Path) -> None:
    for wrong in ("-1", "first", ""):
        refused = _train(inputs, tmp_path, "--splits", inputs / "splits.toml", "--fold", wrong)
        assert refused.exit_code == 2, wrong
        assert "neither a fold's number, from 0 on, nor all" in refused.output
    alone = _train(inputs, tmp_path, "--fold", "all")
    assert isinstance(alone.exception, ConfigError)
    assert "belong together" in str(alone.exception)


def test_tensorboard_is_written_where_it_is_asked_for_and_missed_before_training(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    assert _train(inputs, tmp_path / "with", "--tensorboard").exit_code == 0
    assert list((tmp_path / "with" / "tensorboard").glob("events.out.tfevents.*"))
    assert _train(inputs, tmp_path / "without").exit_code == 0
    assert not (tmp_path / "without" / "tensorboard").exists()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    refused = _train(inputs, tmp_path / "refused", "--tensorboard")
    assert isinstance(refused.exception, BackendUnavailable)
    assert refused.output == ""
    assert not (tmp_path / "refused").exists()
