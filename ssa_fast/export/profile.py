"""What an engine is built for: one TOML file a target, in `export/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ssa_fast.config import load_toml
from ssa_fast.errors import ConfigError
from ssa_fast.export.parity import LIMITS
from ssa_fast.model.parity import Limits

__all__ = ["Boxes", "Profile", "profile_names", "read_profile"]

_EVERYWHERE = "gtx1650.toml"  # by which the folder of profiles is known

Shape = tuple[int, int, int]
Precision = Literal["float32", "float16", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Brain boxes that an engine must take, voxels X Y Z, multiples of 16."""

    smallest: Shape
    usual: Shape  # what the builder makes fastest
    largest: Shape

    def __post_init__(self) -> None:
        for edges in zip(self.smallest, self.usual, self.largest, strict=True):
            if list(edges) != sorted(edges) or any(edge < 16 or edge % 16 for edge in edges):
                raise ConfigError(
                    f"boxes must grow from smallest to usual to largest in multiples of 16, got {self.smallest}, "
                    f"{self.usual}, {self.largest}"
                )


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A target: what it has, what is tried there, and what is wanted of it."""

    description: str
    backends: tuple[Literal["ort", "openvino", "trt"], ...]  # that it is for, the best first
    capability: str = ""  # CUDA compute capability, such as "7.5"; "" for a CPU
    has_tensor_cores: bool = False
    memory_gb: float | None = None  # usable, of the device; None: as the machine has
    workspace_gb: float = 1.0  # that the builder may take for trying kernels
    activation_gb: float = 2.0  # that an engine may plan for activations
    window: Shape = (128, 128, 128)  # of engines with one shape, voxels
    boxes: Boxes
    precisions: tuple[Precision, ...]  # tried in this order
    target_ms: float | None = None  # latency of one window
    limits: Mapping[str, Limits] = field(default_factory=dict)  # by precision; the others as `parity.LIMITS`

    def __post_init__(self) -> None:
        if not self.precisions or not self.backends:
            raise ConfigError("a profile names one precision and one backend at least")
        if any(edge < 16 or edge % 16 for edge in self.window):
            raise ConfigError(f"window edges must be multiples of 16, got {self.window}")
        if "int8" in self.precisions and "trt" in self.backends and not self.has_tensor_cores:
            raise ConfigError("int8 with TensorRT needs tensor cores: 3D convolutions have no fast kernels without")
        if min(self.workspace_gb, self.activation_gb, self.memory_gb or 1, self.target_ms or 1) <= 0:
            raise ConfigError("sizes and times must be above 0")

    def limits_of(self, precision: str) -> Limits:
        """What is allowed to an engine of that precision."""
        return self.limits.get(precision, LIMITS[precision])


def profile_names() -> tuple[str, ...]:
    """Names of the profiles that come with ssa-fast."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


def read_profile(name: str) -> Profile:
    """A profile by its name, or from a file that ends in .toml.

    Raises ConfigError if there is none, or if a key or value in it is not known.
    """
    if name.endswith(".toml"):
        return load_toml(Profile, Path(name))
    if name not in profile_names():
        raise ConfigError(f"no profile '{name}': there are {', '.join(profile_names())}, or give a .toml file")
    return load_toml(Profile, _folder() / f"{name}.toml")


def _folder() -> Path:
    """`export/` of the clone; where there is none, what the wheel has put under `share`.

    That lies in the folder that was installed into, some levels above the package: an environment, ~/.local of
    `pip install --user`, a --prefix or --target, also one that was moved since. `sys.prefix` would be the first alone.
    Raises ConfigError if they lie nowhere there.
    """
    package = Path(__file__).resolve().parents[1]
    shared = [above / "share" / "ssa-fast" / "export" for above in package.parents]
    for folder in (package.parent / "export", *shared):
        if (folder / _EVERYWHERE).is_file():
            return folder
    raise ConfigError(
        f"the profiles that come with ssa-fast do not lie in 'share/ssa-fast/export' of any folder above {package}: "
        "install it again, or give a .toml file"
    )
