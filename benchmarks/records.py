"""How numbers stand in a record."""

from __future__ import annotations

from dataclasses import asdict

from ssa_fast.measure import Ratio
from ssa_fast.model.spec import PRESETS, ModelSpec

__all__ = ["preset_of", "rounded"]


def preset_of(spec: ModelSpec) -> str:
    """The preset whose shape a network has, whatever it is called; else its channels."""
    ours = spec.network.channels, spec.network.stem
    return next((name for name, preset in PRESETS.items() if (preset.channels, preset.stem) == ours), _channels(spec))


def rounded(ratio: Ratio) -> dict[str, float]:
    """A ratio by its fields, to three digits behind the point."""
    return {name: round(value, 3) for name, value in asdict(ratio).items()}


def _channels(spec: ModelSpec) -> str:
    return "-".join(map(str, spec.network.channels)) + ("-half" if spec.network.stem == "half" else "")
