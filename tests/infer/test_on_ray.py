"""Cases over a Ray cluster of two workers: the results of one process, whoever is lost on the way."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ssa_fast.errors import BackendError, BackendUnavailable, CaseError
from ssa_fast.infer.cohort import CohortRun, Outcome, segment_cohort
from ssa_fast.infer.worker import Opener, Place, Ready
from ssa_fast.volume.case import CaseFiles, find_cases
from tests.cases import write_case
from tests.infer.fakes import open_brightness, open_death, open_mortal, open_nothing

pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")

from ssa_fast.infer.on_ray import Crew
from ssa_fast.infer.ray_cluster import connected, places_of


@pytest.fixture(scope="module")
def places() -> Iterator[list[Place]]:
    with connected(cpus=2) as nodes:
        yield places_of(nodes, threads=1, memory_bytes=10**9)


@pytest.fixture
def cases(tmp_path: Path) -> list[CaseFiles]:
    for number in range(4):
        write_case(tmp_path / "cases", f"Case-{number}", seed=number)
    (tmp_path / "out").mkdir()
    return find_cases([tmp_path / "cases"])


def _segment(
    opener: Opener, cases: Sequence[CaseFiles], places: Sequence[Place], out: Path, *, is_resumed: bool = False
) -> dict[str, Outcome]:
    crew = Crew(opener, CohortRun(out=out, facts={}, is_resumed=is_resumed), places)
    with closing(crew.segment(cases)) as outcomes:
        found = list(outcomes)
    assert len({outcome.name for outcome in found}) == len(found) == len(cases)
    return {outcome.name: outcome for outcome in found}


def _alone(cases: Sequence[CaseFiles], out: Path) -> Mapping[str, bytes]:
    """The label maps that one process writes."""
    segmenter, facts = open_brightness(0)
    list(segment_cohort(segmenter, cases, CohortRun(out=out, facts=facts, reads_ahead=False)))
    return _label_maps(out)


def _label_maps(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.nii.gz"))}


def _lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_a_run_of_another_share_leaves_the_mark_by_which_late_workers_know_the_folder(
    cases: list[CaseFiles], places: list[Place], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    crew = Crew(open_brightness, CohortRun(out=out, facts={}), places)
    with closing(crew.segment(cases[1:])) as outcomes:
        next(outcomes)
        [mark] = [path for path in out.iterdir() if path.suffix == ".mark"]
        os.utime(mark, (0, 0))  # the first workers began long ago
        _alone(cases[:1], out)
        assert mark.exists()
    assert not mark.exists()


def test_two_workers_make_what_one_process_makes_bit_by_bit(
    cases: list[CaseFiles], places: list[Place], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    crew = Crew(open_brightness, CohortRun(out=out, facts={}), places)
    ready: list[tuple[Ready, Place]] = []
    plans: list[str] = []
    with closing(crew.segment(cases, lambda *one: ready.append(one), lambda name, _: plans.append(name))) as outcomes:
        names = [outcome.name for outcome in outcomes]
    assert sorted(names) == [files.name for files in cases]
    assert plans == names
    assert len(ready) <= len(places) == 2
    assert crew.ready == {"numpy in float32 on none": len(ready)}
    assert crew.peak_bytes > 10_000_000
    assert _label_maps(out) == _alone(cases, tmp_path / "alone")
    assert [line["case"] for line in _lines(out)] == names
    for line in _lines(out):
        record = json.loads((out / f"{line['case']}.json").read_text())
        alone = json.loads((tmp_path / "alone" / f"{line['case']}.json").read_text())
        for told in (line, record, alone):
            del told["seconds"], told["share_bytes"], told["plan"]["expected_seconds"]
        assert record == alone
        del record["output_sha256"]
        assert line == record
    assert not list(out.glob(".*"))


def test_the_case_of_a_worker_that_is_killed_is_done_again(
    cases: list[CaseFiles], places: list[Place], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    outcomes = _segment(functools.partial(open_mortal, tmp_path, "Case-1", 2), cases, places, out)
    assert len(list(tmp_path.glob("death-*"))) == 2
    assert all(outcome.error is None for outcome in outcomes.values())
    assert _label_maps(out) == _alone(cases, tmp_path / "alone")
    assert sorted(line["case"] for line in _lines(out)) == [files.name for files in cases]
    assert not list(out.glob(".*")), "what the killed have left half written is swept up"
    assert caplog.text.count("case Case-1: its worker on machine") == 2


def test_a_case_that_kills_every_worker_is_named_and_the_others_are_done(
    cases: list[CaseFiles], places: list[Place], tmp_path: Path
) -> None:
    outcomes = _segment(functools.partial(open_mortal, tmp_path, "Case-1", 99), cases, places, tmp_path / "out")
    assert len(list(tmp_path.glob("death-*"))) == 3
    error = outcomes.pop("Case-1").error
    assert isinstance(error, BackendError)
    assert str(error).startswith("case Case-1: 3 workers died over it, the last on machine ")
    assert all(outcome.error is None for outcome in outcomes.values())
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [*(f"Case-{n}{end}" for n in (0, 2, 3) for end in (".json", ".nii.gz")), "results.jsonl"]


def test_a_bad_case_is_named_and_a_resumed_run_does_only_what_is_missing(
    cases: list[CaseFiles], places: list[Place], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scan = cases[1].one("t2w")
    whole = scan.read_bytes()
    scan.write_bytes(b"")
    with caplog.at_level(logging.INFO, logger="ssa_fast"):
        outcomes = _segment(open_brightness, cases, places, tmp_path / "out")
    assert "Case-0: wrote " in caplog.text, "what a worker logs is told here"
    assert isinstance(outcomes["Case-1"].error, CaseError)
    assert sum(outcome.error is None for outcome in outcomes.values()) == 3
    scan.write_bytes(whole)
    again = _segment(open_brightness, cases, places, tmp_path / "out", is_resumed=True)
    assert [name for name, outcome in again.items() if not outcome.is_kept] == ["Case-1"]
    assert len(_lines(tmp_path / "out")) == 4
    assert _label_maps(tmp_path / "out") == _alone(cases, tmp_path / "alone")


def test_a_worker_that_cannot_open_the_network_ends_the_run_with_its_machine_and_reason(
    cases: list[CaseFiles], places: list[Place], tmp_path: Path
) -> None:
    with pytest.raises(BackendUnavailable, match=r"^machine .*: backend 'ort' needs 'onnxruntime'$"):
        _segment(open_nothing, cases, places, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_workers_that_die_before_they_are_ready_are_given_up(
    cases: list[CaseFiles], places: list[Place], tmp_path: Path
) -> None:
    with pytest.raises(BackendError, match="no worker is left, and 4 cases are to be done"):
        _segment(functools.partial(open_death, tmp_path), cases, places[:1], tmp_path / "out")
    assert len(list(tmp_path.glob("death-*"))) == 3


def test_a_result_that_cannot_be_written_ends_the_run_with_the_file_in_the_error(
    cases: list[CaseFiles], places: list[Place], tmp_path: Path
) -> None:
    (tmp_path / "out" / "Case-1.nii.gz").mkdir()
    with pytest.raises(OSError, match=r"Case-1\.nii\.gz"):
        _segment(open_brightness, cases, places, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))
