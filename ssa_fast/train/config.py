"""Everything that decides a training run, in one frozen, printable place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ssa_fast.errors import ConfigError
from ssa_fast.model.spec import PRESETS, UNetConfig

__all__ = ["AugmentConfig", "TrainConfig"]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How often and how strongly a training patch is changed: chances per patch, or per modality where it says so."""

    flip: float = 0.5  # chance for each axis
    affine: float = 0.3
    rotation_degrees: float = 20.0  # about each axis, either way
    scaling: float = 1.2  # at most this much larger or smaller
    # each modality draws its own, for scanners differ in each: strong, because normalization
    # statistics travel badly between them
    noise: float = 0.2
    blur: float = 0.2
    thick_slices: float = 0.2
    contrast: float = 0.4
    gamma: float = 0.4
    bias_field: float = 0.3
    drop_modality: float = 0.05  # chance that one of the modalities is blank

    def __post_init__(self) -> None:
        chances = [self.flip, self.affine, self.noise, self.blur, self.thick_slices, self.contrast]
        chances += [self.gamma, self.bias_field, self.drop_modality]
        if not all(0 <= chance <= 1 for chance in chances):
            raise ConfigError("chances of augmentation must be in [0, 1]")
        if not (1 <= self.scaling < math.inf and 0 <= self.rotation_degrees <= 180):
            raise ConfigError("scaling must be 1 or more and rotation_degrees in [0, 180]")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. What is written here is saved with every checkpoint."""

    preset: str = "lite"
    norm: Literal["preset", "batch", "instance"] = "preset"
    patch: tuple[int, int, int] = (96, 96, 96)  # voxels, X Y Z
    batch: int = 1
    steps: int = 6000  # updates of the weights
    learning_rate: float = 1e-3  # AdamW, after warm-up; falls to zero along a half cosine
    warmup_steps: int = 100
    weight_decay: float = 1e-2
    gradient_clip: float = 2.0  # largest norm of all gradients together; inf: whatever it is
    ema_decay: float = 0.998  # of the averaged weights, which are the ones that are kept
    tumor_share: float = 0.7  # share of patches centered on a tumor voxel
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    seed: int = 42
    report_every: int = 20  # steps
    checkpoint_every: int = 200
    validate_every: int = 1000
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"preset must be one of {', '.join(PRESETS)}, got '{self.preset}'")
        divisor = self.network.divisor
        if any(edge < divisor or edge % divisor for edge in self.patch):
            raise ConfigError(f"patch edges must be multiples of {divisor} for '{self.preset}', got {self.patch}")
        counts = (self.batch, self.steps, self.report_every, self.checkpoint_every, self.validate_every)
        if min(counts) < 1 or self.warmup_steps < 0:
            raise ConfigError("batch, steps and the three intervals must be 1 or more, warmup_steps 0 or more")
        if not (0 < self.learning_rate < math.inf and 0 <= self.weight_decay < math.inf and self.gradient_clip > 0):
            raise ConfigError("learning_rate and gradient_clip must be above 0, weight_decay 0 or more")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be 0 or more and below 2**63, got {self.seed}")
        if not (0 <= self.ema_decay < 1 and 0 <= self.tumor_share <= 1):
            raise ConfigError("ema_decay must be in [0, 1) and tumor_share in [0, 1]")

    @property
    def network(self) -> UNetConfig:
        """The network that is trained: the preset, with another norm where one is asked for."""
        preset = PRESETS[self.preset]
        if self.norm == "preset":
            return preset
        return UNetConfig(channels=preset.channels, norm=self.norm, stem=preset.stem)
