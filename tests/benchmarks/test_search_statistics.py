"""A network of instance norm with the statistics that other norms remember."""

from __future__ import annotations

import dataclasses
from itertools import repeat
from pathlib import Path

import pytest
import torch

from benchmarks.search_statistics import fit_last_block, folded_at_full_resolution, main, with_statistics
from ssa_fast.errors import ConfigError
from ssa_fast.model.blocks import BatchInstanceNorm
from ssa_fast.model.checkpoint import load_checkpoint, network_of, save_checkpoint
from ssa_fast.model.network import FullNorm, UNetConfig
from ssa_fast.train.group import Group
from ssa_fast.train.placement import Placement
from ssa_fast.train.records import write_stats
from tests.cases import write_case
from tests.networks import random_checkpoint, random_network, tiny_checkpoint, tiny_config

_WITH = dataclasses.replace(tiny_config(), full_norm="batch-instance")
_PLACEMENT = Placement(group=Group(), dtype=torch.float32, layout=torch.channels_last_3d)
_RECIPE = """
preset = "tried"
norm = "preset"
patch = [16, 16, 32]
[architecture]
channels = [4, 6, 8]
norm = "instance"
stem = "half"
full_norm = "batch-instance"
"""


def test_the_statistics_are_the_mean_over_patches_and_the_weights_stay() -> None:
    trained, generator = random_network(tiny_config()), torch.Generator().manual_seed(1)
    patches = [torch.randn(1, 4, 16, 16, 32, generator=generator) for _ in range(3)]
    seen: list[torch.Tensor] = []
    assert trained.full is not None
    trained.full.norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    network = with_statistics(trained, _WITH, patches)
    for patch in patches:
        trained(patch)
    assert network.full is not None
    norm = network.full.norm
    assert isinstance(norm, BatchInstanceNorm)
    assert (norm.training, norm.momentum) == (False, BatchInstanceNorm(1).momentum)
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3, 4)) for x in seen]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([x.var((0, 2, 3, 4)) for x in seen]).mean(0))
    for name, weight in trained.state_dict().items():
        assert torch.equal(network.state_dict()[name], weight)


def test_folded_is_batch_norm_at_full_resolution_with_the_remembered_statistics() -> None:
    network = random_network(_WITH)
    assert network.full is not None
    norm = network.full.norm
    windows = torch.randn(1, 4, 16, 16, 32, generator=torch.Generator().manual_seed(2))
    folded = folded_at_full_resolution(network)
    assert folded.config == dataclasses.replace(_WITH, full_norm="none")
    batch_norm = torch.nn.BatchNorm3d(norm.weight.numel(), eps=norm.eps).eval()
    batch_norm.load_state_dict({**norm.state_dict(), "num_batches_tracked": torch.tensor(0)})
    network.full.norm = batch_norm
    torch.testing.assert_close(folded(windows), network(windows), rtol=1e-4, atol=1e-4)
    for config in (tiny_config(), tiny_config(stem="none")):
        with pytest.raises(ConfigError, match="remembers no statistics"):
            folded_at_full_resolution(random_network(config))


def test_the_last_block_learns_what_it_answered_with_its_norm_and_the_rest_stays() -> None:
    teacher, generator = random_network(_WITH), torch.Generator().manual_seed(3)
    folded = folded_at_full_resolution(teacher)
    before = {name: tensor.clone() for name, tensor in folded.state_dict().items()}
    patch = torch.randn(1, 4, 16, 16, 32, generator=generator)
    first = fit_last_block(folded_at_full_resolution(teacher), teacher, repeat(patch), 1, _PLACEMENT)
    assert fit_last_block(folded, teacher, repeat(patch), 60, _PLACEMENT) < 0.7 * first
    changed = {name for name, tensor in folded.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"full.{name}" for name in ("up.weight", "up.bias", "conv.weight", "conv.bias")} | {
        "head.weight",
        "head.bias",
    }


@pytest.mark.parametrize(
    "wanted",
    [
        tiny_config(),
        dataclasses.replace(_WITH, channels=(4, 6, 16)),
        UNetConfig(channels=(4, 6, 8), norm="batch-instance"),
    ],
)
def test_a_network_that_differs_in_more_is_refused(wanted: UNetConfig) -> None:
    with pytest.raises(ConfigError, match="but for the statistics"):
        with_statistics(random_network(tiny_config()), wanted, [])


@pytest.mark.parametrize("full_norm", ["ghost-batch", "batch-instance", "none"])
def test_the_command_writes_a_run_that_is_scored_on_what_the_network_has_not_seen(
    full_norm: FullNorm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number, shape=(32, 28, 36))
    trained = tiny_checkpoint()
    spec = dataclasses.replace(trained.spec, trained_on="Case-1")
    save_checkpoint(tmp_path / "run" / "last.safetensors", dataclasses.replace(trained, spec=spec))
    scored = {"cases": {"Case-0": {"WT": 0.0}}, "dice": {"WT": 0.0, "TC": 0.0, "ET": 0.0}}
    line = {"epoch": 1, "step": 7, "loss": 1.0, "learning_rate": 0.0, "seconds": 60.0, "peak_memory_bytes": 1}
    write_stats(tmp_path / "run", [{**line, "held_out": scored}])
    (tmp_path / "run" / "model_info.json").write_text("{}")
    (tmp_path / "tried.toml").write_text(_RECIPE.replace("batch-instance", full_norm))
    fit = ("--fit", "1") if full_norm == "none" else ()
    words = [str(tmp_path / "run" / "last.safetensors"), str(tmp_path / "tried.toml"), str(tmp_path / "cases")]
    monkeypatch.setattr(
        "sys.argv", ["search_statistics", *words, "--out", str(tmp_path / "out"), "--patches", "2", *fit]
    )
    main()
    begun = load_checkpoint(tmp_path / "out" / "last.safetensors")
    assert begun.spec.trained_on == "Case-1"
    assert network_of(begun).config == dataclasses.replace(_WITH, full_norm=full_norm)
    [epoch] = begun.facts["epochs"]
    assert epoch["step"] == 7
    assert set(epoch["held_out"]["cases"]) == {"Case-0"}
    assert "WT" in capsys.readouterr().out


def test_a_last_block_with_a_norm_is_not_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "trained.safetensors", tiny_checkpoint())
    (tmp_path / "tried.toml").write_text(_RECIPE)
    words = [str(tmp_path / "trained.safetensors"), str(tmp_path / "tried.toml"), str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["search_statistics", *words, "--out", str(tmp_path / "out"), "--fit", "1"])
    with pytest.raises(ConfigError, match="--fit is for a last block without norm"):
        main()


def test_statistics_that_a_network_has_are_the_ones_that_are_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_case(tmp_path / "cases", "Case-1", shape=(32, 28, 36))
    trained = random_checkpoint(_WITH)
    spec = dataclasses.replace(trained.spec, trained_on="Case-1")
    save_checkpoint(tmp_path / "trained.safetensors", dataclasses.replace(trained, spec=spec))
    (tmp_path / "tried.toml").write_text(_RECIPE.replace("batch-instance", "none"))
    words = [str(tmp_path / "trained.safetensors"), str(tmp_path / "tried.toml"), str(tmp_path / "cases")]
    monkeypatch.setattr("sys.argv", ["search_statistics", *words, "--out", str(tmp_path / "out")])
    main()
    folded = network_of(load_checkpoint(tmp_path / "out" / "last.safetensors"))
    wanted = folded_at_full_resolution(network_of(trained))
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(folded.state_dict()[name], tensor)
