"""What a network is and what it was trained for: facts in plain values, no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import BundleError, ConfigError
from ssa_fast.labels import LABEL_NAMES, MODALITIES
from ssa_fast.model.cost import Layer, gflop, layers, live_values, parameter_count, receptive_field
from ssa_fast.model.network import PRESETS, UNetConfig

__all__ = [
    "PREPROCESSING",
    "PRESETS",
    "Layer",
    "ModelSpec",
    "UNetConfig",
    "gflop",
    "layers",
    "live_values",
    "parameter_count",
    "receptive_field",
]

PREPROCESSING = "RAS, 1 mm, cropped to the brain (any modality != 0), z-score a modality over its non-zero voxels"
"""What `volume.preprocess` does to a case, in the words of a spec."""

_ALWAYS_TOLD = ("channels", "norm", "stem", "modalities", "classes")  # of a network; all that version 0.1.0 knows


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What must be known to run a network right: it travels in every checkpoint and bundle as JSON."""

    name: str
    network: UNetConfig
    window: tuple[int, int, int]  # voxels it was trained on, X Y Z
    modalities: tuple[str, ...] = MODALITIES  # channel order
    labels: tuple[str, ...] = ("background", *LABEL_NAMES.values())  # the label value is the place
    preprocessing: str = PREPROCESSING
    postprocessing: str = "none"  # profile of `volume.postprocess` that did best on held-out cases
    parent: str = ""  # SHA-256 of the checkpoint that a bundle was made from
    licence: str = ""
    attribution: str = ""
    trained_on: str = ""  # names of cases, joined by spaces, or other words
    scores: Mapping[str, float] = field(default_factory=dict)  # measured, e.g. "fold 0 WT Dice"

    def __post_init__(self) -> None:
        if len(self.modalities) != self.network.modalities or len(self.labels) != self.network.classes:
            raise ConfigError(
                f"model '{self.name}' names {len(self.modalities)} modalities and {len(self.labels)} labels, "
                f"its network has {self.network.modalities} and {self.network.classes}"
            )

    @property
    def trained_cases(self) -> tuple[str, ...]:
        """The names in `trained_on`."""
        return tuple(self.trained_on.split())

    @property
    def divisor(self) -> int:
        """What each edge of an input must be a multiple of."""
        return self.network.divisor

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives the spec back.

        What a network has in common with those of earlier versions is left out, so that they read it too.
        """
        table = to_mapping(self)
        table["network"] = {name: value for name, value in table["network"].items() if _is_told(name, self.network)}
        return json.dumps(table)

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelSpec:
        """Raises BundleError, naming `where`, if the text is no spec that this version knows."""
        try:
            return from_mapping(cls, json.loads(text), where=where)
        except (json.JSONDecodeError, ConfigError) as error:
            raise BundleError(
                f"{where}: its description is not one this version of ssa-fast reads ({error})"
            ) from error


def _is_told(name: str, network: UNetConfig) -> bool:
    defaults: dict[str, Any] = {one.name: one.default for one in dataclasses.fields(network)}
    return name in _ALWAYS_TOLD or getattr(network, name) != defaults[name]
