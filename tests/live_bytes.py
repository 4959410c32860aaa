"""The bytes that are alive in an update, operator by operator, with tensors that have a shape and no values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ssa_fast.model.network import UNetConfig
from ssa_fast.model.unet import UNet
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.loop import update
from ssa_fast.train.placement import Placement
from ssa_fast.train.run import Sources, open_run


class LiveBytes(TorchDispatchMode):
    """Counts each storage from the operator that makes it until nothing refers to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, int] = {}

    def count(self, tensors: Any) -> None:
        for tensor in tree_leaves(tensors):
            if not isinstance(tensor, torch.Tensor) or tensor.untyped_storage()._cdata in self._alive:
                continue
            storage = tensor.untyped_storage()
            self._alive[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self._forget, storage._cdata)
        self.peak = max(self.peak, self.now)

    def _forget(self, storage: int) -> None:
        self.now -= self._alive.pop(storage)

    def __torch_dispatch__(
        self, operator: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outputs = operator(*args, **(kwargs or {}))
        self.count(outputs)
        return outputs


class _Unmoved(Placement):
    """Leaves weights where they are: tensors without values cannot be moved in place."""

    def put(self, network: nn.Module) -> None:
        pass


def tracked_peak(config: TrainConfig, dtype: torch.dtype, teachers: Sequence[UNetConfig] = ()) -> int:
    """The most bytes alive in the second update of a run, when the optimizer has its moments."""
    layout = torch.contiguous_format if dtype == torch.float32 else torch.channels_last_3d  # as on a GPU
    placement = _Unmoved(group=Group(), dtype=dtype, layout=layout)
    with FakeTensorMode(allow_non_fake_inputs=True):
        run = open_run(config, Path("nowhere"), Sources(), placement)
        run.teachers = [UNet(teacher).eval().requires_grad_(False) for teacher in teachers]
        patches = torch.empty(config.batch, 4, *config.patch)
        batch = (patches, torch.zeros(config.batch, *config.patch, dtype=torch.int64))
        update(run, run.supervised, [batch], placement)
        run.optimizer.zero_grad()
        with LiveBytes() as live:
            states = (run.supervised.state_dict(), run.averaged.state_dict(), run.optimizer.state_dict())
            live.count([*states, batch, *(teacher.state_dict() for teacher in run.teachers)])
            update(run, run.supervised, [batch], placement)
    return live.peak
