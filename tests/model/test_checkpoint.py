"""Checkpoints: what goes in comes out, and what is none is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ssa_fast.errors import CheckpointError
from ssa_fast.files import sha256
from ssa_fast.model.checkpoint import load_checkpoint, network_of, save_checkpoint
from tests.networks import tiny_checkpoint, tiny_config


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint = dataclasses.replace(tiny_checkpoint(), facts={"step": 7, "history": [{"loss": 0.5}]})
    path = tmp_path / "run" / "last.safetensors"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    assert loaded.spec == checkpoint.spec
    assert loaded.facts == checkpoint.facts
    assert loaded.sha256 == sha256(path.read_bytes())
    assert loaded.tensors.keys() == checkpoint.tensors.keys()
    assert all(torch.equal(tensor, checkpoint.tensors[name]) for name, tensor in loaded.tensors.items())
    network_of(loaded)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_cut_off_checkpoint_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, tiny_checkpoint())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"last\.safetensors"):
        load_checkpoint(path)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="not a checkpoint of ssa-fast"):
        load_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors: cannot be read"):
        load_checkpoint(tmp_path / "nowhere.safetensors")


def test_weights_of_another_network_are_refused() -> None:
    checkpoint = tiny_checkpoint(stem="half")
    foreign = dataclasses.replace(checkpoint.spec, network=tiny_config(stem="none"))
    with pytest.raises(CheckpointError, match="do not fit"):
        network_of(dataclasses.replace(checkpoint, spec=foreign))


@pytest.mark.parametrize(
    ("facts", "words"), [("{", "are no JSON"), ("[1]", "are list, wanted a table"), ("null", "are NoneType")]
)
def test_facts_that_are_no_table_are_refused(tmp_path: Path, facts: str, words: str) -> None:
    path = tmp_path / "last.safetensors"
    header = {"ssa_fast.spec": tiny_checkpoint().spec.to_json(), "ssa_fast.facts": facts}
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(2)}, metadata=header))
    with pytest.raises(CheckpointError, match=rf"last\.safetensors: damaged: its facts {words}"):
        load_checkpoint(path)


def test_weights_that_are_not_there_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, tiny_checkpoint())
    with pytest.raises(CheckpointError, match=r"last\.safetensors: its network weights do not fit"):
        network_of(load_checkpoint(path), "network")


def test_a_bundle_is_no_checkpoint(tiny_bundle_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a bundle, not a checkpoint"):
        load_checkpoint(tiny_bundle_path)
