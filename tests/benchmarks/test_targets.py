"""What was asked is found in records, or reckoned and said to be so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.records import NEWEST
from benchmarks.targets import Projection, Target, finding, load_targets, table
from ssa_fast.errors import ConfigError

SHARE = Projection(card="gtx1650", network="reference", precision="float32", record="peak", share=("share",))
UNKNOWN_CARD = '{ card = "gtx1651", network = "lite", precision = "float32", record = "r", share = ["s"] }'


def _target(**changes: object) -> Target:
    given: dict[str, object] = {"what": "a patch", "unit": "ms", "source": "test", "at_most": 150.0}
    return Target(**(given | {"record": "card", "values": (("rows", "one"), ("rows", "two"))} | changes))  # type: ignore[arg-type]


def test_every_target_is_found_or_reckoned_from_the_committed_records() -> None:
    findings = [finding(target, NEWEST) for target in load_targets()]
    assert {one.kind for one in findings} == {"measured", "projected", "planned"}, table(findings)
    on_card = [one for one in findings if one.target.projection is not None]
    assert {one.kind for one in on_card} == {"projected"}, "no GTX 1650 was at hand"
    assert all("PROJECTED" in one.verdict and "nobody has measured" in one.note for one in on_card)


def test_of_several_values_the_worst_counts(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps({"rows": {"one": 0.149, "two": 0.151}}))
    slow = finding(_target(scale=1000.0), tmp_path)
    assert (slow.kind, slow.value, slow.verdict) == ("measured", pytest.approx(151), "missed")
    least = finding(_target(at_most=None, at_least=0.149), tmp_path)
    assert (least.value, least.verdict) == (0.149, "met")


def test_a_projection_is_the_floor_over_the_share_and_says_so(tmp_path: Path) -> None:
    """962.5 GFLOP at 2.98 TFLOP/s take 323 ms; at half of the peak 645."""
    (tmp_path / "peak.json").write_text('{"share": 0.5}')
    found = finding(_target(projection=SHARE), tmp_path)
    assert found.kind == "projected"
    assert found.value == pytest.approx(645, abs=1.5)
    said = table([found])
    assert "PROJECTED: would be missed" in said
    assert "50% of the peak" in said
    assert "on NVIDIA GeForce GTX 1650" in said


def test_a_record_of_the_card_is_taken_before_a_projection(tmp_path: Path) -> None:
    (tmp_path / "peak.json").write_text('{"share": 0.5}')
    (tmp_path / "card.json").write_text(json.dumps({"rows": {"one": 100, "two": 120}}))
    assert finding(_target(projection=SHARE), tmp_path).verdict == "met"


def test_without_any_record_nothing_is_claimed(tmp_path: Path) -> None:
    for target in (_target(), _target(projection=SHARE)):
        found = finding(target, tmp_path)
        assert (found.kind, found.value, found.verdict) == ("unknown", None, "not measured")


def test_a_record_without_the_number_is_told(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps({"rows": {"one": 0.1, "twoo": 0.1}}))
    with pytest.raises(ConfigError, match=r"card.json: no 'rows > two' in it; there are one, twoo"):
        finding(_target(), tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({"rows": {"one": "fast", "two": 1}}))
    with pytest.raises(ConfigError, match=r"no number at 'rows > one', but 'fast'"):
        finding(_target(), tmp_path)
    (tmp_path / "card.json").write_text("[]")
    with pytest.raises(ConfigError, match="not a record"):
        finding(_target(), tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('what = "a"\nunit = "s"\nsource = "b"\nat_mots = 1.0', "unknown key 'at_mots'; did you mean 'at_most'"),
        ('what = "a"\nunit = "s"\nsource = "b"\nrecord = "r"\nvalues = [["a"]]', "at_most or at_least"),
        ('what = "a"\nunit = "s"\nsource = "b"\nat_most = 1.0', "a record and values, a projection or a plan"),
        (f'what = "a"\nunit = "s"\nsource = "b"\nat_most = 1.0\nprojection = {UNKNOWN_CARD}', "gtx1651"),
    ],
)
def test_what_cannot_be_a_target_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "targets.toml").write_text(f"[[targets]]\n{text}\n")
    with pytest.raises(ConfigError, match=said):
        load_targets(tmp_path / "targets.toml")
