"""The ways in which torch may run a network on a GPU, in the order in which they are tried."""

from __future__ import annotations

import copy
import itertools
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

import torch
from torch import nn

from ssa_fast.backends.base import Backend, Precision
from ssa_fast.backends.measured import Way
from ssa_fast.errors import BackendUnavailable
from ssa_fast.hardware import has_emulated_tensor_cores

__all__ = ["PLAIN", "Running", "compiled", "kinds_for", "quiet", "ways_of"]

_DEFAULT = "default"
# Modes of torch.compile, and the seconds that a shape must have run before each is tried. A graph alone ("") saves
# launches, which are little of a run that takes long. Generating code takes a minute or so (`lite` with its gradient:
# one to two, measured on two cores), and several where kernels are tuned (a guess). The graphs are ours in each mode.
_MODES: Mapping[str, float] = MappingProxyType({"": 0.5, _DEFAULT: 60.0, "max-autotune-no-cudagraphs": 240.0})


@dataclass(frozen=True, kw_only=True)
class Running:
    """How torch runs a network."""

    precision: Precision = "float32"
    is_channels_last: bool = False
    compile_mode: str = ""  # of torch.compile; "": eager
    has_graph: bool = False

    def __str__(self) -> str:
        return ", ".join([self.precision, *self.particulars])

    @property
    def particulars(self) -> tuple[str, ...]:
        """What there is to say beside the precision, in words; nothing of a contiguous layout and eager runs."""
        code = "compiled" if self.compile_mode == _DEFAULT else f"compiled with {self.compile_mode}"
        words = ("channels-last", self.is_channels_last), (code, self.compile_mode), ("CUDA graph", self.has_graph)
        return tuple(word for word, is_so in words if is_so)


PLAIN = Running()
"""What all others are held against."""


def kinds_for(capability: tuple[int, int], gpu: str) -> tuple[Running, ...]:
    """The precisions and layouts that are worth a trial beside `PLAIN`, by compute capability and name of the GPU.

    bf16 needs 8.0. Below, float16 needs real tensor cores: where they are emulated it is 5 to 20 times slower than
    float32, and its trial would be, too; who asks for float16 by name gets it.
    """
    if capability >= (8, 0):
        precision: Precision = "bf16"
    elif capability >= (7, 0) and not has_emulated_tensor_cores(gpu):
        precision = "float16"
    else:
        return (Running(is_channels_last=True),)
    return (Running(precision=precision), Running(precision=precision, is_channels_last=True))


def ways_of(
    network: nn.Module, kinds: Sequence[Running], open_as: Callable[[nn.Module, Running], Backend]
) -> list[Way]:
    """`PLAIN`, then `kinds`, then what may take the place of each of these: graphs and compiled code.

    `network` is on the host; `open_as` opens it, or a copy for the other layout, to run so. Ways of one layout share
    their weights, those of one mode their code.
    """
    laid_out = (network, copy.deepcopy(network))

    @cache
    def network_for(is_channels_last: bool, mode: str) -> nn.Module:
        module = laid_out[is_channels_last]
        return compiled(module, mode) if mode else module

    def way(running: Running, base: str = "", wait_s: float = 0.0) -> Way:
        def opened() -> Backend:
            return open_as(network_for(running.is_channels_last, running.compile_mode), running)

        return Way(name=str(running), open=opened, base=base, wait_s=wait_s)

    every = (PLAIN, *kinds)
    ways = [way(kind) for kind in every]
    for kind, (mode, wait_s) in itertools.product(every, _MODES.items()):
        if mode:
            ways.append(way(replace(kind, compile_mode=mode), str(kind), wait_s))
        ways.append(way(replace(kind, compile_mode=mode, has_graph=True), str(kind), wait_s))
    return ways


def compiled(network: nn.Module, mode: str = _DEFAULT) -> nn.Module:
    """The network as code that torch generates for each shape when it first comes; it shares the weights.

    torch stops generating at the eighth shape of a process and runs further ones eagerly. Raises BackendUnavailable
    where it has no compiler.
    """
    try:
        with quiet():
            return typing.cast(nn.Module, torch.compile(network, dynamic=False, mode=mode))
    except (ImportError, RuntimeError) as error:
        raise BackendUnavailable(f"torch {torch.__version__} cannot compile here: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that torch gives of parts of itself while it compiles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
