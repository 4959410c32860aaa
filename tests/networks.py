"""Tiny networks with random weights, as checkpoints and bundles: the real form, a thousandth of the arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from ssa_fast.export.to_bundle import export_bundle
from ssa_fast.model.checkpoint import Checkpoint
from ssa_fast.model.spec import ModelSpec, UNetConfig
from ssa_fast.model.unet import UNet
from ssa_fast.volume.case import find_cases
from tests.cases import write_case

Norm = Literal["batch", "instance", "group"]
Stem = Literal["none", "half"]


def tiny_config(norm: Norm = "instance", stem: Stem = "half") -> UNetConfig:
    """Three levels of few channels."""
    channels = (8, 8, 16) if norm == "group" else (4, 6, 8)  # groups are of eight
    return UNetConfig(channels=channels, norm=norm, stem=stem)


MEMBERS = {
    "no full block": UNetConfig(channels=(4, 6, 8), norm="batch", stem="half", has_full_block=False),
    "no full block, quarter": UNetConfig(channels=(4, 6), norm="instance", stem="quarter", has_full_block=False),
    "quarter": UNetConfig(channels=(4, 6), norm="instance", stem="quarter"),
    "deep": UNetConfig(
        channels=(4, 6, 8), norm="batch", stem="half", convolutions=(1, 3, 2), decoder_convolutions=(1, 2)
    ),
    "residual": UNetConfig(channels=(4, 4, 8), norm="batch", block="residual", convolutions=(1, 2, 5)),
    "residual-half": UNetConfig(channels=(4, 6, 8), norm="instance", stem="half", block="residual"),
    "bottleneck": UNetConfig(channels=(4, 6, 8), norm="instance", stem="half", block="bottleneck"),
    "batch-instance": UNetConfig(channels=(4, 6, 8), norm="batch-instance"),
    "batch-instance at full resolution": UNetConfig(
        channels=(4, 6), norm="instance", stem="half", full_norm="batch-instance"
    ),
    "ghost batch at full resolution": UNetConfig(
        channels=(4, 6), norm="instance", stem="half", full_norm="ghost-batch"
    ),
    "no norm at full resolution": UNetConfig(channels=(4, 6), norm="instance", stem="half", full_norm="none"),
    "bottleneck-group": UNetConfig(channels=(16, 16, 32), norm="group", stem="half", block="bottleneck"),
}
"""Networks of the family that no preset is like, each with what the others have not."""


def random_network(config: UNetConfig, seed: int = 0) -> UNet:
    """In evaluation mode; no weight is zero or one, and batch norm has seen something."""
    generator = torch.Generator().manual_seed(seed)
    network = UNet(config).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.3, generator=generator)
    return network


def tiny_checkpoint(norm: Norm = "instance", stem: Stem = "half", seed: int = 0) -> Checkpoint:
    """A checkpoint of a random network, as training would write it."""
    return random_checkpoint(tiny_config(norm, stem), seed)


def random_checkpoint(config: UNetConfig, seed: int = 0) -> Checkpoint:
    """The same of any network."""
    network = random_network(config, seed)
    tensors = {f"averaged.{name}": tensor for name, tensor in network.state_dict().items()}
    spec = ModelSpec(name="tiny", network=config, window=(16, 16, 16), trained_on="nothing")
    return Checkpoint(spec=spec, tensors=tensors, facts={"step": 0}, sha256="0" * 64)


def tiny_bundle(folder: Path, norm: Norm = "instance", stem: Stem = "half", *, is_float16: bool = True) -> Path:
    """The bundle of `tiny_checkpoint`, proven on a synthetic case, at `folder/tiny.onnx`."""
    # without a segmentation: the Dice of a random network against it moves by rounding alone
    cases = find_cases([write_case(folder / "case", "Proof-001", labels=False)])
    checkpoint = tiny_checkpoint(norm, stem)
    export_bundle(checkpoint, checkpoint.spec, cases, folder / "tiny.onnx", is_float16=is_float16)
    return folder / "tiny.onnx"
