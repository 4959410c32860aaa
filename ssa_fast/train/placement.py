"""Where a network is trained, and in which arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ssa_fast import hardware
from ssa_fast.config import from_mapping
from ssa_fast.errors import ConfigError
from ssa_fast.model.checkpoint import load_checkpoint
from ssa_fast.train.config import ExecutionConfig, TrainConfig
from ssa_fast.train.group import Group

__all__ = ["Placement", "agreed_execution", "as_begun", "choose_placement", "device_precisions"]

Precision: TypeAlias = Literal["float32", "bf16", "fp16"]
_DTYPES: Mapping[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LAYOUTS: Mapping[Literal["contiguous", "channels_last"], torch.memory_format] = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last_3d,
}

# torch 2.13 with AVX512-BF16: where the first edge at some level is 2, the weight gradient of a 3x3x3 convolution was
# NaN or 1e37 in 4 to 100 % of the tries, for 48 to 512 channels, and for ten other shapes never. Memory is read that
# nobody has written.
_UNSOUND_EDGE = 2


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The device of a run, the arithmetic of its network, and how its arrays lie in memory."""

    group: Group
    dtype: torch.dtype  # of the network's arithmetic; weights, loss and optimizer are float32
    layout: torch.memory_format
    is_compiled: bool = False  # the network, by torch.compile

    @property
    def device(self) -> torch.device:
        """Of this process."""
        return self.group.device

    @property
    def name(self) -> str:
        """The processor or GPU, in words."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else hardware.cpu().name

    @property
    def execution(self) -> ExecutionConfig:
        """The same as a setting: what to write down, and to say."""
        [precision] = (name for name, dtype in _DTYPES.items() if dtype == self.dtype)
        is_contiguous = self.layout == torch.contiguous_format
        layout: Literal["contiguous", "channels_last"] = "contiguous" if is_contiguous else "channels_last"
        return ExecutionConfig(precision=precision, layout=layout, is_compiled=self.is_compiled)

    @property
    def prefetch_threads(self) -> int:
        """Threads that draw and augment patches beside the network: on a CPU they would only take its cores."""
        return 0 if self.device.type == "cpu" else max(1, min(8, hardware.cpu().threads - 1))

    def send(self, array: Tensor, *, is_image: bool = False) -> Tensor:
        """A batch on the device, an image (N, C, X, Y, Z) in the network's layout."""
        if self.device.type == "cuda":
            array = array.pin_memory()
        sent = array.to(self.device, non_blocking=True)
        return sent.contiguous(memory_format=self.layout) if is_image else sent

    def put(self, network: nn.Module) -> None:
        """Move the network's weights there, in place."""
        network.to(device=self.device, memory_format=self.layout)  # type: ignore[call-overload]

    def cap(self, budget_bytes: int) -> None:
        """Let a GPU give no more memory than this. What is asked for beyond it is an error of torch's."""
        if self.device.type == "cuda":
            total = torch.cuda.get_device_properties(self.device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, budget_bytes / total), self.device)

    def shared(self, network: nn.Module) -> nn.Module:
        """The network as it is trained: where there are several processes, gradients become their mean."""
        if self.group.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=[self.device] if self.device.type == "cuda" else None)

    def autocast(self) -> torch.autocast:
        """The context in which the network runs."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def choose_placement(config: TrainConfig, group: Group) -> Placement:
    """The group's device, in the precision and layout of `config`; for `auto` as measured, else by rule.

    What was measured on another device and cannot be had on this one counts as not measured. Raises ConfigError if the
    device does not have the precision that is asked for.
    """
    device = group.device
    if device.type == "cuda":  # float32 means float32: TF32 keeps 10 bits of a factor
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    measured = config.execution
    if measured is not None and measured.precision not in device_precisions(config, device):
        measured = None
    dtype = _DTYPES[measured.precision] if measured and config.precision == "auto" else _dtype(config, device)
    is_best_last = device.type == "cpu" or dtype != torch.float32
    layout = measured.layout if measured else "channels_last" if is_best_last else "contiguous"
    if config.layout != "auto":
        layout = config.layout
    is_compiled = config.compile == "on" or (config.compile == "auto" and measured is not None and measured.is_compiled)
    return Placement(group=group, dtype=dtype, layout=_LAYOUTS[layout], is_compiled=is_compiled)


def agreed_execution(execution: ExecutionConfig | None, config: TrainConfig, group: Group) -> ExecutionConfig | None:
    """What the first process has found, in all of them; none if one of their devices lacks the precision."""
    if group.size == 1:
        return execution
    precisions, layouts = list(_DTYPES), list(_LAYOUTS)
    mine = (-1.0, 0.0, 0.0)
    if execution is not None:
        place = layouts.index(execution.layout)
        mine = (float(precisions.index(execution.precision)), float(place), float(execution.is_compiled))
    precision, layout, is_compiled = (int(group.agree(value)) for value in mine)
    is_missing = precision < 0 or precisions[precision] not in device_precisions(config, group.device)
    if group.any(is_missing):
        return None
    date = execution.measured_on if execution is not None else ""
    return ExecutionConfig(
        precision=precisions[precision], layout=layouts[layout], is_compiled=bool(is_compiled), measured_on=date
    )


def as_begun(config: TrainConfig, checkpoint: Path) -> TrainConfig:
    """`config` with what was measured when the run of a checkpoint began: so it goes on bit-equal.

    And without the last block's norm, where the run began with a bundle that has it in its convolution, so `--from`
    need not be given again. Without such a file it is `config` itself. Raises CheckpointError if the file cannot be
    read, ConfigError if what it says of that is not known.
    """
    if not checkpoint.exists():
        return config
    facts = load_checkpoint(checkpoint).facts
    told = facts.get("config")
    saved = told if isinstance(told, Mapping) else {}
    table = saved.get("execution")
    execution = from_mapping(ExecutionConfig, table, where=str(checkpoint)) if isinstance(table, Mapping) else None
    config = dataclasses.replace(config, execution=execution)
    is_open = saved.get("preset") == config.preset and config.architecture is None
    if is_open and config.full_norm == "preset" and saved.get("full_norm") == "none" and facts.get("started_from"):
        return dataclasses.replace(config, full_norm="none")
    return config


def device_precisions(config: TrainConfig, device: torch.device) -> list[Precision]:
    """What the device has instructions for and is not known to compute wrongly; whether they pay is another thing."""
    if device.type == "cpu":
        has_bf16 = hardware.cpu().has_bf16 and _is_sound_in_bf16(config)
        return ["float32", "bf16"] if has_bf16 else ["float32"]
    return ["float32", "bf16", "fp16"] if _has_bf16(device) else ["float32", "fp16"]


def _dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The precision that is asked for, or the fastest that the device is known to compute rightly."""
    if config.precision == "float32":
        return torch.float32
    if device.type == "cpu":
        if config.precision == "fp16":
            raise ConfigError("precision fp16 needs a CUDA GPU: take bf16 or float32 on a CPU")
        is_sound = _is_sound_in_bf16(config)
        if config.precision == "bf16" and not is_sound:
            raise ConfigError(
                f"bf16 on a CPU gives wrong gradients for a patch of {config.patch[0]} voxels along X: take float32, "
                f"or more than {_UNSOUND_EDGE * config.network.divisor} voxels"
            )
        gains = is_sound and hardware.cpu().gains_from_bf16
        return torch.bfloat16 if config.precision == "bf16" or gains else torch.float32
    name = torch.cuda.get_device_name(device)
    has_bf16 = _has_bf16(device)
    if config.precision == "bf16" and not has_bf16:
        raise ConfigError(f"precision bf16 needs compute capability 8.0, {name} has less: take auto or float32")
    if config.precision == "auto" and hardware.has_emulated_tensor_cores(name):
        return torch.float32
    return torch.bfloat16 if has_bf16 and config.precision != "fp16" else torch.float16


def _is_sound_in_bf16(config: TrainConfig) -> bool:
    return config.patch[0] > _UNSOUND_EDGE * config.network.divisor


def _has_bf16(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)  # torch claims bf16 below, and emulates it
