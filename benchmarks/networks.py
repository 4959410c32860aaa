"""The networks that are measured, as bundles: the shipped one, the one that was asked for, or random weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.records import preset_of
from ssa_fast import hardware
from ssa_fast.backends import available_backends, open_backend
from ssa_fast.export.convert import int8_form, write_form
from ssa_fast.export.parity import answers_of, compare, open_reference, read_proofs
from ssa_fast.export.to_bundle import export_bundle
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.checkpoint import Checkpoint
from ssa_fast.model.parity import Limits
from ssa_fast.model.spec import PRESETS, ModelSpec
from ssa_fast.model.unet import UNet
from ssa_fast.volume.case import CaseFiles

__all__ = ["Measured", "int8_bundle_of", "random_bundle", "runs_here"]

_LOOSE = Limits(label_agreement=0.98, dice_change=0.05)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One network."""

    bundle: Path
    weights: str  # shipped, asked or random: what its labels are worth
    int8: Path | None = None


def runs_here() -> Iterator[tuple[str, str]]:
    """Backend and precision of everything that this machine can run a bundle in; int8 is of an int8 bundle."""
    has_gpu, has_bf16 = torch.cuda.is_available(), hardware.cpu().has_bf16
    for backend in available_backends():
        yield backend, "float32"
        if backend == "torch" and has_gpu:
            yield from (("torch", "float16"), ("torch", "bf16"))
        elif backend != "ort" and has_bf16:
            yield backend, "bf16"
        if backend != "torch":
            yield backend, "int8"


def random_bundle(preset: str, proof: CaseFiles, path: Path) -> Path:
    """A network of a preset that has learned nothing: for its speed and memory, which weights do not change.

    Written in float32, proven on `proof`. Takes about half a minute for `reference`.
    """
    network, generator = UNet(PRESETS[preset]).eval(), torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 5:  # so that values stay of one size from layer to layer (He et al., ICCV 2015)
            taps = tensor.shape[0] if "up" in name else tensor[0].numel()
            tensor.normal_(0, (2 / taps) ** 0.5, generator=generator)
    tensors = {f"averaged.{name}": tensor for name, tensor in network.state_dict().items()}
    spec = ModelSpec(name=preset, network=PRESETS[preset], window=(128, 128, 128), trained_on="nothing")
    checkpoint = Checkpoint(spec=spec, tensors=tensors, facts={"step": 0}, sha256="0" * 64)
    export_bundle(checkpoint, spec, [proof], path, is_float16=False)
    assert preset_of(read_bundle(path).spec) == preset
    return path


def int8_bundle_of(bundle: Path, case: CaseFiles, path: Path) -> Path:
    """The int8 form of a bundle, all of it, calibrated and proven on one case: what it costs stands beside its rows.

    The limits of `export` would have it look for layers to keep, for minutes. Raises ParityError if it is too far off.
    """
    loaded = read_bundle(bundle)
    name, reference = open_reference(loaded)
    with closing(reference):
        answers = answers_of(reference, read_proofs([case], loaded.spec.divisor))
    form = int8_form(loaded, answers, lambda one: open_backend("openvino", one, "float32"), limits=_LOOSE)
    with closing(open_backend("openvino", form.bundle, "float32")) as judge:
        write_form(form, compare(name, answers, judge, _LOOSE), path)
    return path
