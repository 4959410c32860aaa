"""The rungs of the ladder: which technique, on top of which, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ssa_fast import hardware
from ssa_fast.backends import available_backends

__all__ = ["ELSEWHERE", "FIRST", "LEAST_GAIN", "Elsewhere", "Rung", "rungs_here"]

LEAST_GAIN = 1.02  # times as fast: what is less is the machine's noise
FIRST = "windows of 128^3 by torch, float32, contiguous"


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One technique on top of another rung."""

    name: str
    on: str  # the rung that it changes in one thing; empty: the first
    how: Mapping[str, Any]  # of a `Setup`, all of it but the bundle
    is_kept: bool = True
    why: str = ""  # it was kept, or dropped, where that is not told by its numbers
    form: str = "float32"  # of the bundle: float32, int8, or the name of a rewrite


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """A rung that another record has."""

    name: str
    record: str
    values: Mapping[str, tuple[str, ...]]  # what, and the way to it in the record
    why: str
    is_kept: bool = False


_WINDOWED = {"backend": "torch", "gives": "logits", "window": (128, 128, 128)}
_OPENVINO = {"backend": "openvino", "gives": "logits"}

_LADDER = (
    Rung(name=FIRST, on="", how=_WINDOWED | {"is_contiguous": True}),
    Rung(name="channels-last", on=FIRST, how=_WINDOWED),
    Rung(name="one pass over the brain's box", on="channels-last", how={"backend": "torch", "gives": "logits"}),
    Rung(name="OpenVINO", on="one pass over the brain's box", how=_OPENVINO),
    Rung(name="bf16", on="OpenVINO", how=_OPENVINO | {"precision": "bf16"}),
    Rung(
        name="labels out of the engine",
        on="bf16",
        how={"backend": "openvino", "precision": "bf16"},
        why="for its memory",
    ),
    Rung(
        name="int8 convolutions",
        on="labels out of the engine",
        how={"backend": "openvino", "precision": "bf16"},
        form="int8",
    ),
    Rung(
        name="two windows a call",
        on="channels-last",
        how=_WINDOWED | {"batch": 2},
        is_kept=False,
        why="as much arithmetic, twice the memory",
    ),
    Rung(
        name="bf16 by torch",
        on="one pass over the brain's box",
        how={"backend": "torch", "gives": "logits", "precision": "bf16"},
        why="where torch is the backend",
    ),
    Rung(
        name="bf16 by torch, contiguous",
        on="bf16 by torch",
        how={"backend": "torch", "gives": "logits", "precision": "bf16", "is_contiguous": True},
        is_kept=False,
        why="its kernels want channels-last",
    ),
    Rung(
        name="ONNX Runtime instead of OpenVINO",
        on="OpenVINO",
        how={"backend": "ort", "gives": "logits"},
        is_kept=False,
        why="a backend of its own, for its small memory; not the default",
    ),
    Rung(
        name="int8 by ONNX Runtime",
        on="ONNX Runtime instead of OpenVINO",
        how={"backend": "ort", "gives": "logits"},
        is_kept=False,
        why="its 3D convolutions have no fast int8 kernel here",
        form="int8",
    ),
    *(
        Rung(
            name=f"rewrite {rewrite}",
            on="labels out of the engine",
            how={"backend": "openvino", "precision": "bf16"},
            is_kept=False,
            why="a few percent at best, or slower: an option of export, no default",
            form=rewrite,
        )
        for rewrite in ("depth-to-space", "split-concat")
    ),
)

ELSEWHERE: tuple[Elsewhere, ...] = (
    Elsewhere(
        name="both rewrites at once, bf16",
        record="rewrites",
        values=MappingProxyType({"times as long": ("times_as_long", "bf16", "both")}),
        why="within noise",
    ),
    Elsewhere(
        name="OpenVINO's own cache of compiled graphs, for a cold call",
        record="cold-epyc-2-threads",
        values=MappingProxyType(
            {
                "CPU seconds to open without": ("rows", "3", "open_cpu_seconds"),
                "with": ("rows", "4", "open_cpu_seconds"),
                "of a whole call": ("rows", "2", "cpu_seconds"),
            }
        ),
        why="2 % of a cold call, for a folder that must be looked after",
    ),
    Elsewhere(
        name="batch norm, which folds away, instead of instance norm",
        record="epyc-2-threads-norms",
        values=MappingProxyType(
            {
                "mean WT Dice of held-out scanners, instance": ("norms", "instance", "mean_over_15_cases", "WT"),
                "batch": (
                    "norms",
                    "batch, statistics re-estimated from the training brains",
                    "mean_over_15_cases",
                    "WT",
                ),
            }
        ),
        why="no norm leads in all regions after a short training, and the shipped weights have batch norm in one block",
    ),
    Elsewhere(
        name="torch.compile for training, lite at 96^3",
        record="epyc-2-threads-training",
        values=MappingProxyType({"times as fast": ("compiled", "lite_96_bf16", "1")}),
        why="compiling takes one and a half minutes; `train --tune` takes it where it pays",
    ),
)
"""Tried, measured, and not on the ladder that everybody climbs."""


def rungs_here() -> list[Rung]:
    """Those that this machine can climb: without bf16 or a backend its rungs go, and what stood on them."""
    backends, has_bf16, found = available_backends(), hardware.cpu().has_bf16, []
    for rung in _LADDER:
        there = {one.name for one in found}
        can = rung.how["backend"] in backends and (has_bf16 or rung.how.get("precision") != "bf16")
        if can and (not rung.on or rung.on in there):
            found.append(rung)
    return found
