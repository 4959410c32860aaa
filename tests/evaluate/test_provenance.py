from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssa_fast.errors import BundleError, CaseError
from ssa_fast.evaluate.provenance import Provenance, provenance
from ssa_fast.model.bundle import read_bundle
from ssa_fast.model.spec import parameter_count
from ssa_fast.pretrained import shipped_bundle


def record(folder: Path, case: str, seconds: float, sha256: str) -> None:
    machine = {"machine": "ort on a CPU; Linux", "bundle_sha256": sha256}
    (folder / f"{case}.json").write_text(json.dumps({"seconds": {"read": 1, "network": seconds}, **machine}))


def test_records_tell_the_machine_and_the_median_of_the_seconds(tmp_path: Path) -> None:
    for case, seconds in (("A", 1.0), ("B", 2.0), ("C", 9.0)):
        record(tmp_path, case, seconds, "12ab")
    found = provenance(tmp_path, ["A", "B", "C", "D"], None)
    assert (found.seconds, found.machine, found.bundle_sha256) == (3.0, "ort on a CPU; Linux", "12ab")
    assert dict(found.rows)["trained on"] == "not recorded: name the network with --bundle"


def test_a_bundle_tells_its_training_cases_and_which_of_them_are_scored(tmp_path: Path) -> None:
    bundle = read_bundle(shipped_bundle("lite"))
    found = provenance(tmp_path, [], bundle)
    assert found.parameters == parameter_count(bundle.spec.network)
    assert found.training_cases == len(bundle.spec.trained_cases)
    trained = bundle.spec.trained_cases[0]
    assert found.seen(["BraTS-SSA-00002-000", trained]) == [trained]
    assert trained in found.data


def test_words_are_not_counted_as_cases() -> None:
    assert Provenance(trained_on="our own cases").data == "our own cases"


def test_another_bundle_than_that_of_the_records_is_refused(tmp_path: Path) -> None:
    record(tmp_path, "A", 1, "12ab" * 16)
    with pytest.raises(BundleError, match=r"its records name the bundle 12ab12ab12ab, lite\.onnx is "):
        provenance(tmp_path, ["A"], read_bundle(shipped_bundle("lite")))


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "A.json").write_text("{")
    with pytest.raises(CaseError, match=r"A\.json: cannot be read as a record"):
        provenance(tmp_path, ["A"], None)
