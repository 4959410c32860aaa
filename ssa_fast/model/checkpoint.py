"""Training state on disk: one safetensors file, its facts as JSON in the header, never pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ssa_fast.errors import BundleError, CheckpointError
from ssa_fast.files import sha256, write_whole
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.spec import ModelSpec
from ssa_fast.model.unet import UNet

__all__ = ["Checkpoint", "load_checkpoint", "load_weights", "network_of", "save_checkpoint"]

_SPEC, _FACTS = "ssa_fast.spec", "ssa_fast.facts"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds."""

    spec: ModelSpec
    tensors: Mapping[str, Tensor]  # "network.*", "averaged.*", "heads.*" and "optimizer.*", on the CPU
    facts: Mapping[str, Any]  # the training configuration, the step, the history
    sha256: str = ""  # of the file, once there is one
    path: Path | None = None  # of the file

    @property
    def where(self) -> str:
        """The file, or what else tells which checkpoint is meant, for errors."""
        return str(self.path) if self.path is not None else f"checkpoint '{self.spec.name}'"


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file, whole or not at all."""
    header = {_SPEC: checkpoint.spec.to_json(), _FACTS: json.dumps(checkpoint.facts)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    write_whole(path, safetensors.torch.save(tensors, metadata=header))


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file. Raises CheckpointError if it cannot be read or is none of ours."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if path.suffix == ".onnx":
        raise CheckpointError(f"{path}: a bundle, not a checkpoint: that is a .safetensors file of 'ssa-fast train'")
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a type of number that torch has not
        raise CheckpointError(f"{path}: damaged, or not a safetensors file ({error}): copy it again") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__") or {}
    if _SPEC not in header or _FACTS not in header:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of ssa-fast: it describes no network")
    try:
        spec = ModelSpec.from_json(header[_SPEC], where=str(path))
    except BundleError as error:
        raise CheckpointError(str(error)) from error
    return Checkpoint(spec=spec, tensors=tensors, facts=_facts(header[_FACTS], path), sha256=sha256(content), path=path)


def load_weights(path: Path) -> Checkpoint:
    """The weights to begin a run with: of a checkpoint, or of a bundle, which holds them as averaged ones and no more.

    Raises CheckpointError or BundleError if the file cannot be read or is none of ours.
    """
    if path.suffix != ".onnx":
        checkpoint = load_checkpoint(path)
        kept = {name: tensor for name, tensor in checkpoint.tensors.items() if name.startswith("averaged.")}
        return dataclasses.replace(checkpoint, tensors=kept)  # without the optimizer, three times as large
    bundle = read_bundle(path)
    tensors = {f"averaged.{name}": torch.from_numpy(array.astype("f4")) for name, array in bundle.weights().items()}
    return Checkpoint(spec=bundle.spec, tensors=tensors, facts={}, sha256=bundle.sha256, path=path)


def _facts(text: str, path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: damaged: its facts are no JSON ({error}): copy it again") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path}: damaged: its facts are {type(facts).__name__}, wanted a table: copy it again")
    return facts


def network_of(checkpoint: Checkpoint, weights: str = "averaged") -> UNet:
    """The network of a checkpoint in evaluation mode, with its `averaged` or last (`network`) weights.

    Raises CheckpointError if the weights do not fit the network that the checkpoint describes.
    """
    network = UNet(checkpoint.spec.network)
    prefix = f"{weights}."
    state = {
        name.removeprefix(prefix): tensor for name, tensor in checkpoint.tensors.items() if name.startswith(prefix)
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"{checkpoint.where}: its {weights} weights do not fit the network it describes ({first}): copy it again"
        ) from error
    return network.eval()
