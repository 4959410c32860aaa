"""What every backend offers, and nothing that only one of them has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from ssa_fast.errors import ShapeError
from ssa_fast.model.spec import ModelSpec
from ssa_fast.volume.geometry import FloatArray

__all__ = ["Backend", "Device", "Precision", "check_windows"]

Precision: TypeAlias = Literal["float32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Device:
    """What runs a network."""

    engine: str  # library and version
    name: str  # processor or GPU, in words
    precision: Precision  # of the arithmetic
    threads: int = 0  # 0: the engine's own affair

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.threads else ""
        return f"{self.engine} in {self.precision} on {self.name}{threads}"


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

        The result may be overwritten by the next call. Raises ShapeError if an edge is no multiple of `spec.divisor`.
        """

    def close(self) -> None:
        """Let go of the device's memory. A closed backend is not used again."""


def check_windows(windows: FloatArray, spec: ModelSpec) -> None:
    """Raises ShapeError unless `windows` is a batch that the network can take."""
    if windows.ndim != 5 or windows.shape[1] != len(spec.modalities):
        raise ShapeError(f"windows are {windows.shape}, wanted (N, {len(spec.modalities)}, X, Y, Z)")
    if windows.shape[0] < 1 or any(edge < spec.divisor or edge % spec.divisor for edge in windows.shape[2:]):
        raise ShapeError(f"windows are {windows.shape}, wanted edges that are multiples of {spec.divisor}: pad them")
