"""`train` says how it computes, and why so: by rule, as measured, as asked, or as its run began."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from ssa_fast.cli.train import command
from ssa_fast.cli.tuning import tuned
from ssa_fast.errors import ConfigError
from ssa_fast.model.checkpoint import load_checkpoint
from ssa_fast.model.spec import PRESETS
from ssa_fast.train import tune as module
from ssa_fast.train.config import ExecutionConfig, TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.trial import BASELINE, Trial
from ssa_fast.train.tune import Tuning
from tests.cases import write_case
from tests.networks import tiny_config

CONFIG = """
patch = [16, 16, 16]
steps = 2
report_every = 2
precision = "float32"
"""
BY_RULE = "float32, channels-last: by rule; --tune would measure what is fastest here"
CHOSEN = ExecutionConfig(precision="float32", layout="contiguous", is_compiled=False, measured_on="2026-01-31")
KNOWN = "float32, contiguous: measured on this machine on 2026-01-31"


@pytest.fixture(autouse=True)
def _a_cache_and_a_measurement_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PRESETS, "fast", tiny_config())
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    trials = [
        Trial(execution=BASELINE, seconds=0.5, loss=2.0),
        Trial(execution=ExecutionConfig(precision="bf16", layout="channels_last", is_compiled=True), problem="slow"),
    ]
    tuning = Tuning(trials=trials, patch=(8, 8, 8), execution=CHOSEN)
    monkeypatch.setattr(module, "tune", lambda *_: tuning)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_case(folder, "Case-0")
    (folder / "config.toml").write_text(CONFIG)
    return folder


def _train(inputs: Path, out: Path, *more: str) -> Result:
    arguments = [str(inputs / "Case-0"), "--recipe", str(inputs / "config.toml"), "--out", str(out), *more]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return done


def test_what_was_measured_is_printed_kept_and_taken_up_by_later_runs(inputs: Path, tmp_path: Path) -> None:
    assert BY_RULE in _train(inputs, tmp_path / "one").output
    measured = _train(inputs, tmp_path / "two", "--tune").output
    assert "updates with patches of 8 x 8 x 8, 1 at once, smaller than yours" in measured
    assert "  float32, contiguous               500.0 ms   1.00 x  loss +0.00000  sound\n" in measured
    assert "  bf16, channels-last, compiled  slow\n" in measured
    assert (
        f"float32, contiguous: fastest of these, kept in {tmp_path / 'cache' / 'ssa-fast' / 'tuned.json'}" in measured
    )
    assert KNOWN in _train(inputs, tmp_path / "three").output
    saved = load_checkpoint(tmp_path / "three" / "last.safetensors").facts["config"]
    assert (saved["layout"], saved["execution"]["layout"]) == ("auto", "contiguous")
    assert BY_RULE in _train(inputs, tmp_path / "four", "--batch", "2").output  # was not measured


def test_a_run_goes_on_as_it_began_whatever_was_measured_since(inputs: Path, tmp_path: Path) -> None:
    _train(inputs, tmp_path / "run")
    _train(inputs, tmp_path / "other", "--tune")
    again = _train(inputs, tmp_path / "run", "--tune", "--steps", "3").output
    assert "float32, channels-last: as its run began, not measured again" in again
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").facts["step"] == 3


def test_a_damaged_cache_is_one_line_and_rules_hold(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "cache" / "ssa-fast").mkdir(parents=True)
    (tmp_path / "cache" / "ssa-fast" / "tuned.json").write_text("{")
    done = _train(inputs, tmp_path / "run")
    assert "tuned.json: cannot be read" in done.stderr
    assert BY_RULE in done.output
    _train(inputs, tmp_path / "again", "--tune")
    assert KNOWN in _train(inputs, tmp_path / "mended").output


def test_what_was_measured_with_other_threads_is_told_of_and_not_used(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(torch, "get_num_threads", lambda: 77)
        _train(inputs, tmp_path / "one", "--tune")
    said = _train(inputs, tmp_path / "two").output
    assert "float32, channels-last: by rule; what was measured with 77 threads is not used" in said
    assert BY_RULE in _train(inputs, tmp_path / "three", "--batch", "2").output


def test_several_processes_are_refused_before_it_is_said_that_they_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="several processes cannot tune at once"):
        tuned(TrainConfig(), tmp_path / "last.safetensors", Group(size=2), is_asked=True)
    assert capsys.readouterr().out == ""


def test_where_nothing_is_left_open_nothing_is_looked_up(inputs: Path, tmp_path: Path) -> None:
    (inputs / "fixed.toml").write_text(CONFIG + 'layout = "contiguous"\ncompile = "off"\n')
    done = _train(inputs, tmp_path / "run", "--recipe", str(inputs / "fixed.toml"))
    assert "float32, contiguous: as asked" in done.output
