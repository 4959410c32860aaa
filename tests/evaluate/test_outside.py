from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssa_fast.errors import ConfigError
from ssa_fast.evaluate.outside import read_ranges, shipped_ranges
from ssa_fast.labels import MODALITIES
from ssa_fast.model.bundle import read_bundle
from ssa_fast.prepare.describe import CaseFacts, DataSet, Intensities, describe_case, description_to_json
from ssa_fast.pretrained import bundle_path, shipped_bundles
from ssa_fast.volume.case import find_cases


def facts(name: str, brain_ml: float, median: float, tumor_ml: float = 50, edge: float = 1) -> CaseFacts:
    own = Intensities(
        least=0, p1=1, median=median, p99=3 * median, most=4 * median, mean=median, deviation=1, negative_share=0
    )
    return CaseFacts(
        name=name,
        shape=(24, 20, 18),
        spacing_mm=(1, 1, edge),
        orientation="RAS",
        voxel_types=dict.fromkeys(MODALITIES, "int16"),
        brain_shape=(20, 16, 14),
        brain_ml=brain_ml,
        intensities=dict.fromkeys(MODALITIES, own),
        label_values=(0, 2),
        label_ml={"NCR": 0, "ED": tumor_ml, "ET": 0},
        region_ml={"WT": tumor_ml, "TC": 0, "ET": 0},
        swap=None,
    )


@pytest.fixture
def description(tmp_path: Path) -> Path:
    """As `describe` writes it: brains of 1000 and 1400 ml, medians 200 and 300, tumours of 20 and 80 ml."""
    data = DataSet(cases=(facts("A", 1000, 200, 20), facts("B", 1400, 300, 80)), repeats=())
    path = tmp_path / "description.json"
    path.write_text(json.dumps(description_to_json(data, "1.0")))
    return path


def test_a_case_between_the_training_cases_is_not_outside_nor_one_equal_to_the_most(description: Path) -> None:
    ranges = read_ranges(description)
    assert ranges.outside(facts("C", 1200, 250), 50) == []
    assert ranges.outside(facts("C", 1400, 300), 80) == []
    assert "2 training cases" in ranges.rule


@pytest.mark.parametrize(
    ("case", "predicted_ml", "said"),
    [
        (facts("C", 900, 250), 50, "brain 900 ml (training 1000 to 1400)"),
        (facts("C", 1200, 250), 95, "predicted tumour 95 ml (training 20 to 80)"),
        (facts("C", 1200, 301), 50, "t1c median 301 (training 200 to 300)"),
        (facts("C", 1200, 250, edge=5), 50, "voxel edge 5 mm (training 1 to 1)"),
    ],
)
def test_what_is_outside_is_said_with_both_numbers(
    description: Path, case: CaseFacts, predicted_ml: float, said: str
) -> None:
    assert said in read_ranges(description).outside(case, predicted_ml)


def test_ranges_that_were_kept_are_those_of_the_description_and_name_no_case(description: Path) -> None:
    ranges = read_ranges(description)
    kept = description.with_name("ranges.json")
    kept.write_text(json.dumps(ranges.to_json("1.0")))
    assert read_ranges(kept) == ranges
    bare = description.with_name("bare.json")
    bare.write_text(json.dumps(replace(ranges, tumor_ml=None).to_json("1.0")))
    assert read_ranges(bare).tumor_ml is None


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_shipped_bundle_brings_the_ranges_of_all_its_training_cases_and_no_name(name: str) -> None:
    bundle = read_bundle(bundle_path(name))
    ranges = shipped_ranges(bundle.sha256)
    assert ranges is not None
    assert ranges.cases == len(bundle.spec.trained_cases)
    text = bundle_path(name).with_name(f"{name}-training.json").read_text()
    assert not any(case in text for case in bundle.spec.trained_cases)
    assert shipped_ranges("0" * 64) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_bundles())
def test_the_shipped_ranges_are_those_of_the_training_cases(name: str, shared_ssa: Path, tmp_path: Path) -> None:
    bundle = read_bundle(bundle_path(name))
    cases = [shared_ssa / case for case in bundle.spec.trained_cases]
    described = [describe_case(files) for files in find_cases(cases)]
    data = DataSet(cases=tuple(one[0] for one in described if isinstance(one, tuple)), repeats=())
    path = tmp_path / "description.json"
    path.write_text(json.dumps(description_to_json(data, "1.0")))
    assert shipped_ranges(bundle.sha256) == read_ranges(path)


@pytest.mark.parametrize("content", ["", "{}", '{"by_case": {}}', '{"by_case": {"A": {}}}', "[]"])
def test_a_file_that_describes_no_case_is_refused_with_the_remedy(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "d.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"d\.json: no description of training cases .*ssa-fast describe"):
        read_ranges(path)
