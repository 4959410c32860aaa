"""Everything that decides a training run, in one frozen, printable place."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ssa_fast.config import load_toml
from ssa_fast.errors import ConfigError
from ssa_fast.labels import LABEL_NAMES, LABELS
from ssa_fast.model.network import FOLDED, FullNorm
from ssa_fast.model.spec import PRESETS, UNetConfig

__all__ = ["RECIPES", "AugmentConfig", "ExecutionConfig", "LossConfig", "PlateauConfig", "TrainConfig", "load_recipe"]

RECIPES = ("best", "whole_brain", "original")
"""Recipes that come with ssa-fast, as files in `train/recipes`: to be read, and copied to be changed."""


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
    low_resolution: float = 0.1
    contrast: float = 0.4
    contrast_range: tuple[float, float] = (0.7, 1.4)  # factor of the z-scores, low and high
    brightness: float = 0.2  # deviation of what is added to them beside it
    gamma: float = 0.4
    bias_field: float = 0.3
    drop_modality: float = 0.05  # chance that one of the modalities is blank
    swap_modalities: float = 0.0  # chance that two of them change places
    intensity_map: float = 0.0  # chance, for each modality, that its intensities go through a random rising curve
    transplant: float = 0.0  # chance that the tumor of another case is put into the patch
    synthesis: float = 0.0  # chance that labels and tissues are given new contrasts

    def __post_init__(self) -> None:
        chances = [self.flip, self.affine, self.noise, self.blur, self.thick_slices, self.contrast]
        chances += [self.low_resolution, self.gamma, self.bias_field, self.drop_modality, self.swap_modalities]
        chances += [self.intensity_map, self.transplant, self.synthesis]
        if not all(0 <= chance <= 1 for chance in chances):
            raise ConfigError("chances of augmentation must be in [0, 1]")
        low, high = self.contrast_range
        if not (0 < low <= high < math.inf and 0 <= self.brightness < math.inf):
            raise ConfigError("contrast_range must be two rising factors above 0, and brightness 0 or more")
        if not (1 <= self.scaling < math.inf and 0 <= self.rotation_degrees <= 180):
            raise ConfigError("scaling must be 1 or more and rotation_degrees in [0, 180]")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is minimized: a weighted sum of soft Dice and cross-entropy, and of the distance to a teacher."""

    dice: float = 1.0
    cross_entropy: float = 1.0
    distillation: float = 0.0  # of the distance to the probabilities of a teacher; needs one
    temperature: float = 2.0  # by which both networks' logits are divided for that
    class_weights: tuple[float, ...] = ()  # of cross-entropy, a label from 0 on; empty: all alike

    def __post_init__(self) -> None:
        weights = (self.dice, self.cross_entropy, self.distillation, *self.class_weights)
        if not all(0 <= weight < math.inf for weight in weights) or self.dice + self.cross_entropy == 0:
            raise ConfigError("weights of the loss must be 0 or more, and dice or cross_entropy above 0")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature must be above 0, got {self.temperature}")
        if self.class_weights and (len(self.class_weights) != 1 + len(LABELS) or not all(self.class_weights)):
            names = " ".join(LABEL_NAMES.values())
            raise ConfigError(f"class_weights must be {1 + len(LABELS)} numbers above 0: background {names}")


@dataclass(frozen=True, kw_only=True)
class PlateauConfig:
    """The schedule `plateau`: the rate is cut when the loss of held-out patches, else of training, gets no lower.

    Source: torch's ReduceLROnPlateau.
    """

    factor: float = 0.5
    patience: int = 5  # epochs without a lower loss that are waited for
    min_learning_rate: float = 1e-8

    def __post_init__(self) -> None:
        if not (0 < self.factor < 1 and self.patience >= 0 and 0 <= self.min_learning_rate < math.inf):
            raise ConfigError("plateau needs a factor in (0, 1), patience and min_learning_rate of 0 or more")


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """How a machine computes a network: what was measured there to be the fastest that is sound."""

    precision: Literal["float32", "bf16", "fp16"]
    layout: Literal["contiguous", "channels_last"]
    is_compiled: bool
    measured_on: str = ""  # date, YYYY-MM-DD

    @property
    def words(self) -> str:
        """It in words, such as 'bf16, channels-last, compiled'."""
        return f"{self.precision}, {self.layout.replace('_', '-')}{', compiled' if self.is_compiled else ''}"


_COUNTS = ("batch", "accumulate", "steps", "held_out_patches", "report_every", "checkpoint_every", "epoch_steps")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. What is written here is saved with every checkpoint."""

    preset: str = "fast"  # or, with an `architecture`, the network's own name
    architecture: UNetConfig | None = None  # of a network that is no preset; its norm goes with norm = "preset"
    norm: Literal["preset", "batch", "ghost-batch", "instance", "batch-instance", "group"] = (
        "instance"  # "preset": the network's own
    )
    full_norm: Literal["preset", FullNorm] = "preset"  # of a preset's last block
    reestimate: bool = False  # batch norm's statistics from whole training cases, before scores and at the end
    patch: tuple[int, int, int] = (96, 96, 96)  # voxels, X Y Z
    batch: int = 1
    accumulate: int = 1  # batches whose gradients are added up for one update
    recomputed_levels: int = (
        0  # finest levels whose activations are made again for the gradient: less memory, more time
    )
    steps: int = 6000  # updates of the weights
    epoch_steps: int = 1000  # updates after which held-out cases are scored and the epoch's line is written
    held_out: Literal["cases", "patches"] = "cases"  # scored whole, as in use, or by fixed patches, which is quicker
    held_out_patches: int = 4  # a held-out case
    loss: LossConfig = field(default_factory=LossConfig)
    supervised_levels: int = 0  # coarser levels of the decoder that learn by heads of their own; in training alone
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 1e-3  # after warm-up
    schedule: Literal["cosine", "plateau"] = "cosine"  # falls to zero along a half cosine, or when nothing gets better
    plateau: PlateauConfig = field(default_factory=PlateauConfig)
    warmup_steps: int = 100
    weight_decay: float = 1e-2
    gradient_clip: float = 2.0  # largest norm of all gradients together; inf: whatever it is
    ema_decay: float = 0.998  # of the averaged weights, which are the ones that are kept; 0: the last ones
    tumor_share: float = 0.7  # share of patches centered on a tumor voxel
    phantoms: int = 0  # made-up cases that are trained on beside the given ones
    phantom_share: float = 0.1  # of the patches, where there are phantoms
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    layout: Literal["auto", "contiguous", "channels_last"] = "auto"  # of arrays in memory
    compile: Literal["auto", "on", "off"] = "auto"  # auto: off, unless it was measured to pay
    execution: ExecutionConfig | None = None  # what each `auto` stands for, as `--tune` measured it; none: by rule
    seed: int = 42
    report_every: int = 20  # steps
    checkpoint_every: int = 200
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        self._check_network()
        divisor = self.network.divisor
        if any(edge < divisor or edge % divisor for edge in self.patch):
            raise ConfigError(f"patch edges must be multiples of {divisor} for '{self.preset}', got {self.patch}")
        self._check_counts()
        if not 0 <= self.recomputed_levels <= len(self.network.channels):
            raise ConfigError(
                f"recomputed_levels must be 0 to {len(self.network.channels)}, got {self.recomputed_levels}"
            )
        most = len(self.network.channels) - (1 if self.network.stride > 1 else 2)  # never the deepest level
        if not 0 <= self.supervised_levels <= most:
            raise ConfigError(
                f"supervised_levels must be 0 to {most} for '{self.preset}', got {self.supervised_levels}"
            )
        if self.reestimate and not FOLDED & {self.network.norm, self.network.norm_of_full_block}:
            raise ConfigError(
                f"reestimate is for batch norm, '{self.preset}' has none ({self.network.words}): take it out"
            )
        if self.schedule == "plateau" and self.warmup_steps:
            raise ConfigError(f"schedule 'plateau' has no warm-up: set warmup_steps to 0, got {self.warmup_steps}")
        if not (0 < self.learning_rate < math.inf and 0 <= self.weight_decay < math.inf and self.gradient_clip > 0):
            raise ConfigError("learning_rate and gradient_clip must be above 0, weight_decay 0 or more")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be 0 or more and below 2**63, got {self.seed}")
        if not (0 <= self.ema_decay < 1 and 0 <= self.tumor_share <= 1 and 0 <= self.phantom_share <= 1):
            raise ConfigError("ema_decay must be in [0, 1), tumor_share in [0, 1] and phantom_share in [0, 1]")
        if not 0 <= self.phantoms <= 1000 or (self.phantoms and not self.phantom_share):
            raise ConfigError(f"phantoms must be 0 to 1000, with a phantom_share above 0, got {self.phantoms}")

    def _check_counts(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.warmup_steps < 0:
            raise ConfigError(f"warmup_steps must be 0 or more, got {self.warmup_steps}")

    def _check_network(self) -> None:
        """Raise ConfigError for a name that says nothing or two things, and for a network that cannot be trained."""
        if self.architecture is None:
            if self.preset not in PRESETS:
                raise ConfigError(
                    f"preset must be one of {', '.join(PRESETS)}, or have an [architecture] table, got '{self.preset}'"
                )
            return
        if self.preset in PRESETS:
            raise ConfigError(f"preset '{self.preset}' has an architecture: give the network another name, or no table")
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.preset):
            raise ConfigError(f"preset '{self.preset}' names files: take letters, digits, '-', '_' and '.' alone")
        if self.norm not in ("preset", self.architecture.norm):
            raise ConfigError(
                f"norm is '{self.norm}', that of the architecture '{self.architecture.norm}': set norm to 'preset'"
            )
        if self.full_norm not in ("preset", self.architecture.full_norm):
            raise ConfigError(
                f"full_norm is '{self.full_norm}', that of the architecture '{self.architecture.full_norm}': "
                "leave it to the architecture"
            )
        if self.architecture.norm == "none":
            raise ConfigError(
                "an architecture without norm is not trained: batch, ghost-batch, instance, batch-instance or group"
            )
        task = UNetConfig()
        if (self.architecture.modalities, self.architecture.classes) != (task.modalities, task.classes):
            raise ConfigError(f"the architecture must have {task.modalities} modalities and {task.classes} classes")

    @property
    def network(self) -> UNetConfig:
        """The network that is trained: the architecture, or the preset, with another norm where one is asked for."""
        if self.architecture is not None:
            return self.architecture
        preset = PRESETS[self.preset]
        norm = preset.norm if self.norm == "preset" else self.norm
        full_norm = preset.full_norm if self.full_norm == "preset" else self.full_norm
        return dataclasses.replace(preset, norm=norm, full_norm=full_norm)


def load_recipe(recipe: str) -> TrainConfig:
    """The settings of a recipe: one of RECIPES by name, or a TOML file by path.

    Raises ConfigError for a name that there is not, or a file that cannot be read or holds what is not known.
    """
    if recipe in RECIPES:
        return load_toml(TrainConfig, Path(__file__).with_name("recipes") / f"{recipe}.toml")
    if not recipe.endswith(".toml"):
        raise ConfigError(f"no recipe '{recipe}': there are {', '.join(RECIPES)}, or a path that ends in .toml")
    return load_toml(TrainConfig, Path(recipe))
