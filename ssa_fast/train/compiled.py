"""A network as machine code for one shape of its input, where that can be had."""

from __future__ import annotations

import logging
import typing
import warnings

import torch
from torch import Tensor, nn

from ssa_fast.train.config import TrainConfig
from ssa_fast.train.placement import Placement

__all__ = ["compile_for_training", "compiled_or_reason"]

_log = logging.getLogger(__name__)


def compile_for_training(network: nn.Module, config: TrainConfig, placement: Placement) -> nn.Module:
    """What trains the network: compiled if the placement says so, else the network itself.

    Where torch.compile fails it is the network itself in every process, and one line on the log says why.
    """
    if not placement.group.any(placement.is_compiled):  # all do the same, or one would wait for the others
        return network
    compiled, reason = compiled_or_reason(network, config, placement)
    if placement.group.any(bool(reason)):
        _log.warning("the network is not compiled: %s", reason or "another process could not")
        return network
    return compiled


def compiled_or_reason(network: nn.Module, config: TrainConfig, placement: Placement) -> tuple[nn.Module, str]:
    """A compiled module that shares the network's weights, and "": or the network, and why it cannot be compiled.

    It is tried at once, forward and back on a blank batch, for torch compiles when it must run. The network is left as
    it was, and its state dict has the same names. `lite` at 96^3 took one to two minutes to compile on two busy cores.
    """
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of parts of itself
            from torch._dynamo.exc import TorchDynamoException

            compiled = typing.cast(nn.Module, torch.compile(network, dynamic=False))
            _run_once(compiled, config, placement)
    except TorchDynamoException as error:  # the base of those of torch's compilers; inductor's InductorError too
        lines = str(error).strip().splitlines() or [""]
        return network, f"{type(error).__name__}: {lines[0]}"
    finally:
        network.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, before in buffers:  # batch norm's statistics
                buffer.copy_(before)
    return compiled, ""


def _run_once(network: nn.Module, config: TrainConfig, placement: Placement) -> None:
    windows = placement.send(torch.zeros(config.batch, config.network.modalities, *config.patch), is_image=True)
    with placement.autocast():
        outputs = network(windows)  # (N, K, X, Y, Z), or a list with one of these a head
    heads: list[Tensor] = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    torch.stack([head.float().sum() for head in heads]).sum().backward()
