"""Networks that begin where another one ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.search_start import copied, fit_shorter, main, pass_on_in_longer
from ssa_fast.errors import ConfigError
from ssa_fast.model.checkpoint import load_checkpoint, network_of, save_checkpoint
from ssa_fast.model.unet import UNet
from tests.cases import write_case
from tests.networks import random_network, tiny_checkpoint, tiny_config

_DEEPER = {"convolutions": (2, 3, 4)}
_SHALLOWER = {"convolutions": (1, 2, 2), "decoder_convolutions": (1, 2)}
_RECIPE = """
preset = "tried"
norm = "preset"
patch = [16, 16, 32]

[architecture]
norm = "instance"
channels = [4, 6, 8]
stem = "half"
convolutions = [1, 2, 3]
decoder_convolutions = [1, 2]
"""


def _patches(seed: int = 3) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randn(1, 4, 32, 32, 32, generator=generator)


def _begun(trained: UNet, **depths: tuple[int, ...]) -> UNet:
    torch.manual_seed(1)
    return copied(trained, dataclasses.replace(trained.config, **depths)).eval()


@torch.no_grad()
def _difference(one: nn.Module, other: nn.Module, window: Tensor) -> float:
    """Root of the mean square of the difference of what both give, as a share of its deviation."""
    expected = other(window)
    return float((one(window) - expected).square().mean().sqrt() / expected.std())


def test_a_longer_block_gives_nearly_what_the_shorter_one_gave() -> None:
    trained = random_network(tiny_config())
    network = _begun(trained, **_DEEPER)
    window = torch.randn(1, 6, 16, 16, 16, generator=torch.Generator().manual_seed(9))
    longer, shorter = network.encoder[2], trained.encoder[2]
    before = _difference(longer, shorter, window)
    patches = _patches()
    pass_on_in_longer(trained, network, [next(patches) for _ in range(4)])
    assert _difference(longer, shorter, window) < 0.3 < before


def test_a_shorter_block_learns_what_the_longer_one_gives() -> None:
    trained = random_network(tiny_config())
    first, last = (fit_shorter(trained, _begun(trained, **_SHALLOWER), _patches(), updates) for updates in (1, 120))
    assert len(first) == len(last) == 2  # the finest level, down and up
    assert all(after < 0.6 * before for before, after in zip(first, last, strict=True))


def test_blocks_of_one_depth_are_copied_and_nothing_is_fitted() -> None:
    trained = random_network(tiny_config())
    network = _begun(trained)
    pass_on_in_longer(trained, network, [])
    assert fit_shorter(trained, network, _patches(), 5) == []
    assert _difference(network, trained, next(_patches(seed=9))) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": (4, 8, 8)}, r"channels \(4, 6, 8\), the recipe's \(4, 8, 8\)"),
        ({"stem": "none"}, "stem half"),
        ({"norm": "batch"}, "norm instance"),
        ({"classes": 3}, "classes 4, the recipe's 3"),
    ],
)
def test_another_network_is_refused(change: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        copied(random_network(tiny_config()), dataclasses.replace(tiny_config(), **change))


def test_batch_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match="only blocks without shortcuts in instance norm"):
        copied(random_network(tiny_config("batch")), tiny_config("batch"))


def test_the_command_begins_a_network_on_the_cases_that_the_other_one_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = tmp_path / "cases"
    for number in range(2):
        write_case(cases, f"Case-{number}", seed=number, shape=(32, 28, 36))
    trained = tiny_checkpoint()
    known = dataclasses.replace(trained, spec=dataclasses.replace(trained.spec, trained_on="Case-1"))
    save_checkpoint(tmp_path / "trained.safetensors", known)
    (tmp_path / "tried.toml").write_text(_RECIPE)
    out = tmp_path / "start.safetensors"
    words = [str(tmp_path / "trained.safetensors"), str(tmp_path / "tried.toml"), str(cases)]
    monkeypatch.setattr("sys.argv", ["search_start", *words, "--out", str(out), "--updates", "2"])
    main()
    begun = load_checkpoint(out)
    assert begun.spec.trained_on == "Case-1"  # a training from it refuses to be scored on that
    assert (begun.spec.window, begun.spec.scores, begun.spec.postprocessing) == ((16, 16, 32), {}, "none")
    network = network_of(begun)
    assert network.config.depths == (1, 2, 3)
    torch.testing.assert_close(network.state_dict()["stem.weight"], network_of(trained).state_dict()["stem.weight"])


def test_cases_that_the_other_one_does_not_know_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(tmp_path / "cases", "Case-0")
    save_checkpoint(tmp_path / "trained.safetensors", tiny_checkpoint())
    (tmp_path / "tried.toml").write_text(_RECIPE)
    words = [str(tmp_path / "trained.safetensors"), str(tmp_path / "tried.toml"), str(tmp_path / "cases")]
    monkeypatch.setattr("sys.argv", ["search_start", *words, "--out", str(tmp_path / "start.safetensors")])
    with pytest.raises(ConfigError, match="none of them is among the cases given"):
        main()
