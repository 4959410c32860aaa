"""What stands in a record."""

from __future__ import annotations

import dataclasses

from benchmarks.records import preset_of, rounded
from ssa_fast.measure import Ratio
from ssa_fast.model.spec import PRESETS, ModelSpec, UNetConfig


def test_a_network_is_known_by_its_shape_not_by_its_name() -> None:
    folded = dataclasses.replace(PRESETS["reference"], norm="none")
    assert preset_of(ModelSpec(name="original", network=folded, window=(128, 128, 128))) == "reference"
    assert preset_of(ModelSpec(name="mine", network=PRESETS["lite"], window=(96, 96, 96))) == "lite"
    unlike = UNetConfig(channels=PRESETS["lite"].channels)  # without the stem
    assert preset_of(ModelSpec(name="reference", network=unlike, window=(96, 96, 96))) == "24-48-96-192"
    other = UNetConfig(channels=(4, 8), stem="half")
    assert preset_of(ModelSpec(name="lite", network=other, window=(16, 16, 16))) == "4-8-half"


def test_a_ratio_is_rounded_field_by_field() -> None:
    ratio = Ratio(median=18.23456, low=17.9996, high=19, confidence=0.9375, pairs=5)
    assert rounded(ratio) == {"median": 18.235, "low": 18.0, "high": 19, "confidence": 0.938, "pairs": 5}
