"""What every backend offers, and nothing that only one of them has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np

from ssa_fast import hardware
from ssa_fast.errors import BackendError, ConfigError, NumericsError, ShapeError
from ssa_fast.measure import resident_bytes
from ssa_fast.model.spec import ModelSpec, live_values
from ssa_fast.volume.geometry import FloatArray, LabelArray
from ssa_fast.volume.postprocess import NAN_LOGITS, labels_from_logits

__all__ = [
    "Backend",
    "Choice",
    "Device",
    "Footprint",
    "Gives",
    "Precision",
    "buffer_bytes",
    "check_logit_mean",
    "check_windows",
    "cpu_precision",
    "engine_failure",
    "host_footprint",
    "in_words",
    "labels_of_batch",
    "memory_failure",
]

_BYTES_PER_VALUE = 4  # shares are of values in float32
_SPARE_BYTES = 25_000_000  # threads' buffers and code that is loaded when it first runs

Precision: TypeAlias = Literal["float32", "bf16", "float16", "int8"]
Gives: TypeAlias = Literal["logits", "labels"]
"""What a graph was asked to give."""

Choice: TypeAlias = Literal["auto", "float32", "bf16", "float16"]
"""A precision, or `auto`: bf16 where the device gains from it, else float32."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """What runs a network."""

    engine: str  # library and version
    name: str  # processor or GPU, in words
    precision: Precision  # of the arithmetic
    threads: int = 0  # 0: the engine's own affair
    others: Precision | None = None  # of the layers that an int8 network has in another

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.threads else ""
        others = f", the other layers in {self.others}," if self.others else ""
        return f"{self.engine} in {self.precision}{others} on {self.name}{threads}"


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What an open engine holds and takes of the memory that its network runs in."""

    held_bytes: int  # when it was opened: of this process on a CPU, of the device on a GPU
    share: float  # of the float32 values that the network must have at once, those that the engine really has
    labels_share: float | None = None  # as `share`, where labels are asked for in one pass; None: the same
    is_host: bool = True  # whether that memory is this process's
    shapes: tuple[tuple[int, int, int], ...] = ()  # that it takes, X Y Z: one, or the smallest and the largest; (): any
    keeps_buffers: bool = False  # from one call to the next, until `let_go`
    kept_bytes: int = 0  # of them, from the windows that it ran
    is_kept_apart: bool = False  # of use to windows of the same shape alone; else to all that are no larger
    votes: int = 1  # answers that one call is the mean of
    work: float = 1.0  # of one run of the spec's network, what a call computes

    def share_for(self, gives: Gives) -> float:
        """`share`, or `labels_share` where labels are asked for."""
        return self.labels_share if gives == "labels" and self.labels_share is not None else self.share


class Backend(Protocol):
    """A trained network, ready to run on one device. Arrays are host float32, C order."""

    @property
    def spec(self) -> ModelSpec:
        """What the network is."""

    @property
    def device(self) -> Device:
        """What runs it, in words, and in which precision."""

    def logits(self, windows: FloatArray) -> FloatArray:
        """Logits of one batch: (N, C, X, Y, Z) in, (N, K, X, Y, Z) out.

        The result may be overwritten by the next call. Raises ShapeError if an edge is no multiple of `spec.divisor`,
        BackendError if the engine fails, for want of memory most likely.
        """

    def labels(self, windows: FloatArray) -> LabelArray:
        """The label of the largest logit: (N, C, X, Y, Z) in, uint8 (N, X, Y, Z) out; the lowest label wins a tie.

        Made where the logits are, so that they need not come to the host. The result may be overwritten by the next
        call. Raises NumericsError if a logit is NaN, and else what `logits` does.
        """

    def free_bytes(self) -> int | None:
        """Memory that the device has left, or would have after `let_go`; None where it is not known."""

    @property
    def footprint(self) -> Footprint:
        """What the engine held when it was opened, takes when it runs, and keeps."""

    def let_go(self) -> None:
        """Free the buffers that are kept from one call to the next; the next call asks for them again."""

    def close(self) -> None:
        """Let go of the device's memory. A closed backend is not used again."""


def buffer_bytes(spec: ModelSpec, share: float, batch: int, window: tuple[int, int, int]) -> int:
    """Memory that an engine takes for `batch` windows of (X, Y, Z) voxels; `share` is that of its `Footprint`."""
    return math.ceil(_BYTES_PER_VALUE * share * batch * live_values(spec.network) * math.prod(window))


def host_footprint(share: float, labels_share: float | None = None) -> Footprint:
    """The footprint of an engine that runs in this process's memory."""
    return Footprint(held_bytes=resident_bytes() + _SPARE_BYTES, share=share, labels_share=labels_share)


def check_windows(windows: FloatArray, spec: ModelSpec) -> None:
    """Raises ShapeError unless `windows` is a batch that the network can take."""
    if windows.ndim != 5 or windows.shape[1] != len(spec.modalities):
        raise ShapeError(f"windows are {windows.shape}, wanted (N, {len(spec.modalities)}, X, Y, Z)")
    if windows.shape[0] < 1 or any(edge < spec.divisor or edge % spec.divisor for edge in windows.shape[2:]):
        raise ShapeError(f"windows are {windows.shape}, wanted edges that are multiples of {spec.divisor}: pad them")


def labels_of_batch(logits: FloatArray) -> LabelArray:
    """`Backend.labels` from `Backend.logits`, for engines without argmax. Raises NumericsError if a logit is NaN."""
    return np.stack([labels_from_logits(one) for one in logits])


def check_logit_mean(logit_mean: float) -> None:
    """Raises NumericsError if the mean over a batch's logits is NaN: one of them is, or there are two infinities."""
    if math.isnan(logit_mean):
        raise NumericsError(NAN_LOGITS)


def cpu_precision(choice: Choice) -> Precision:
    """The precision that `choice` stands for on this processor.

    Raises ConfigError for bf16 without instructions for it, and for float16.
    """
    if choice == "float16":
        raise ConfigError(f"{hardware.cpu().name} is a processor, float16 is for GPUs: take --precision auto")
    if choice == "auto":
        return "bf16" if hardware.cpu().gains_from_bf16 else "float32"
    if choice == "bf16" and not hardware.cpu().has_bf16:
        raise ConfigError(f"{hardware.cpu().name} has no bf16 instructions: take --precision float32")
    return choice


def engine_failure(device: Device, windows: FloatArray, error: Exception) -> BackendError:
    """What an engine's own error becomes: one line that says where it ran and on how much."""
    return BackendError(
        f"{device} failed on {in_words(windows.shape)} values: {_first_line(error)}; if memory was short, close other "
        "programs"
    )


def memory_failure(
    device: Device, windows: FloatArray, planned_bytes: int, free_bytes: int, error: Exception
) -> BackendError:
    """What a GPU's want of memory becomes: one line with what was planned, what there is, and what to do."""
    return BackendError(
        f"{device} is out of memory on {in_words(windows.shape)} values: {planned_bytes / 1e9:.2f} GB were planned, "
        f"{free_bytes / 1e9:.2f} GB are free now: close other programs on the GPU, or have the brain cut into windows "
        f"by granting less, such as --max-memory {0.8 * free_bytes / 1e9:.1f}GB ({_first_line(error)})"
    )


def in_words(shape: tuple[int, ...]) -> str:
    """Such as 1 x 4 x 128 x 128 x 128."""
    return " x ".join(map(str, shape))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
