"""Several processes that train one network together, as torchrun begins them: each has a GPU, or a share of the CPU."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, distributed

from ssa_fast.errors import ConfigError

__all__ = ["Group", "join_group", "leave_group"]

_PATIENCE = timedelta(hours=2)  # the others wait while the first scores held-out cases


@dataclass(frozen=True, kw_only=True)
class Group:
    """The processes of a run, seen from one of them."""

    rank: int = 0  # of this process
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))  # of this process

    @property
    def is_first(self) -> bool:
        """Whether this process writes, scores and reports for all."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes of a tensor on the device."""
        if self.size == 1:
            return value
        summed = value.clone()
        distributed.all_reduce(summed)
        return summed / self.size

    def any(self, fact: bool) -> bool:
        """Whether it is true in any process: all get the same answer."""
        return fact if self.size == 1 else bool(self.mean(torch.tensor(float(fact), device=self.device)) > 0)

    def agree(self, value: float) -> float:
        """The first process's value, in all."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, device=self.device, dtype=torch.float64)
        distributed.broadcast(shared, src=0)
        return float(shared)


def join_group() -> Group:
    """The group that torchrun has begun, which may be joined already, or this process alone.

    Raises ConfigError if there are more processes than GPUs on a machine that has any.
    """
    has_gpu = torch.cuda.is_available()
    if not distributed.is_torchelastic_launched():
        # with its number: torch's limit on a GPU's memory takes no device without one
        return Group(device=torch.device("cuda", torch.cuda.current_device()) if has_gpu else torch.device("cpu"))
    device = torch.device("cpu")
    if has_gpu:
        place = int(os.environ["LOCAL_RANK"])  # torchrun's way of telling
        if place >= torch.cuda.device_count():
            raise ConfigError(f"process {place} finds {torch.cuda.device_count()} GPUs: lower --nproc-per-node")
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if has_gpu else "gloo", timeout=_PATIENCE)
    return Group(rank=distributed.get_rank(), size=distributed.get_world_size(), device=device)


def leave_group() -> None:
    """End what `join_group` began, if it did."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
