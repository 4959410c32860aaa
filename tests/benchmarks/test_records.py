"""What stands in a record."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.records import find, machine_facts, machine_name, preset_of, rounded
from ssa_fast.errors import ConfigError
from ssa_fast.measure import Ratio
from ssa_fast.model.spec import PRESETS, ModelSpec, UNetConfig


def test_a_network_is_known_by_its_shape_not_by_its_name() -> None:
    folded = dataclasses.replace(PRESETS["reference"], norm="none")
    assert preset_of(ModelSpec(name="original", network=folded, window=(128, 128, 128))) == "reference"
    assert preset_of(ModelSpec(name="mine", network=PRESETS["lite"], window=(96, 96, 96))) == "lite"
    assert preset_of(ModelSpec(name="mine", network=PRESETS["fast"].folded, window=(96, 96, 96))) == "fast"
    for preset in ("lite", "fast"):
        of_batches = dataclasses.replace(PRESETS[preset], norm="batch").folded
        assert preset_of(ModelSpec(name="mine", network=of_batches, window=(96, 96, 96))) == preset
    changed = dataclasses.replace(PRESETS["lite"], has_full_block=False)
    assert preset_of(ModelSpec(name="lite", network=changed, window=(96, 96, 96))) == "24-48-96-192-half"
    unlike = UNetConfig(channels=PRESETS["lite"].channels)  # without the stem
    assert preset_of(ModelSpec(name="reference", network=unlike, window=(96, 96, 96))) == "24-48-96-192"
    other = UNetConfig(channels=(4, 8), stem="half")
    assert preset_of(ModelSpec(name="lite", network=other, window=(16, 16, 16))) == "4-8-half"


def test_a_ratio_is_rounded_field_by_field() -> None:
    ratio = Ratio(median=18.23456, low=17.9996, high=19, confidence=0.9375, pairs=5)
    assert rounded(ratio) == {"median": 18.235, "low": 18.0, "high": 19, "confidence": 0.938, "pairs": 5}


def test_a_way_leads_through_tables_and_lists_to_a_number() -> None:
    record = {"rows": [{"seconds": 1}, {"seconds": 2.5}], "said": "fast", "is": True}
    assert find(record, ("rows", "1", "seconds"), "r.json") == 2.5
    for way, told in (
        (("rows", "2"), "no 'rows > 2' in it; there are 0, 1"),
        (("rows", "0", "minutes"), "no 'rows > 0 > minutes' in it; there are seconds"),
        (("said", "0"), "no 'said > 0' in it"),
        (("said",), "no number at 'said', but 'fast'"),
        (("is",), "no number"),
    ):
        with pytest.raises(ConfigError, match=f"r.json: {told}"):
            find(record, way, "r.json")


def test_a_record_is_called_by_its_gpu_or_else_its_processor() -> None:
    facts = {"cpu": "AMD EPYC (tm)", "threads": 2, "gpus": []}
    assert machine_name(facts) == "amd-epyc-tm-2-threads"
    assert machine_name(facts | {"gpus": ["NVIDIA GeForce GTX 1650"]}) == "nvidia-geforce-gtx-1650"
    here = machine_facts()
    assert {"cpu", "cores", "threads", "flags", "gpus", "driver", "versions", "system"} <= here.keys()
    assert here["versions"]["ssa-fast"]
