"""Many cases: results appear whole, a bad case is named and passed by."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ssa_fast.backends.base import engine_failure
from ssa_fast.errors import CaseError
from ssa_fast.infer.cohort import CohortRun, segment_cohort, shard
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.plan import Plan, Wish
from ssa_fast.infer.segmentation import Prepared
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.volume.case import Case, find_cases, named_case, read_case
from ssa_fast.volume.geometry import FloatArray
from tests.cases import turned_affine, write_case, write_nifti
from tests.infer.fakes import BrightnessBackend


def _run(out: Path, *, is_resumed: bool = False, reads_ahead: bool = True, **facts: object) -> CohortRun:
    return CohortRun(out=out, facts=facts, is_resumed=is_resumed, reads_ahead=reads_ahead)


def _three_cases(folder: Path) -> Path:
    for number in range(3):
        write_case(folder, f"Case-{number}", seed=number, affine=turned_affine("LPS", (1, 2, 3)))
    return folder


def test_each_case_becomes_a_label_map_on_its_own_grid_and_a_record(tmp_path: Path) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])
    outcomes = list(segment_cohort(Segmenter(BrightnessBackend()), cases, _run(tmp_path / "out", bundle_sha256="abc")))
    assert [outcome.name for outcome in outcomes] == ["Case-0", "Case-1", "Case-2"]
    for outcome in outcomes:
        assert outcome.path is not None
        written = nibabel.load(outcome.path)
        given = nibabel.load(tmp_path / "cases" / outcome.name / f"{outcome.name}-t1n.nii.gz")
        assert written.shape == given.shape
        assert written.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(written.affine, given.affine)
        record = json.loads((tmp_path / "out" / f"{outcome.name}.json").read_text())
        assert record["case"] == outcome.name
        assert record["bundle_sha256"] == "abc"
        assert list(record["seconds"]) == ["read", "prepare", "network", "labels", "write"]
        counts = np.bincount(np.asarray(written.dataobj).ravel(), minlength=4)
        assert record["volumes_ml"] == {"NCR": 0.0, "ED": counts[2] / 1000, "ET": counts[3] / 1000}


def test_a_bad_case_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    folder = _three_cases(tmp_path / "cases")
    (folder / "Case-1" / "Case-1-t2w.nii.gz").write_bytes(b"")
    outcomes = list(segment_cohort(Segmenter(BrightnessBackend()), find_cases([folder]), _run(tmp_path / "out")))
    assert [outcome.path is not None for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, CaseError)
    assert "Case-1-t2w.nii.gz" in str(outcomes[1].error)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["Case-0.json", "Case-0.nii.gz", "Case-2.json", "Case-2.nii.gz", "results.jsonl"]


def test_a_case_that_fails_says_when_an_earlier_result_is_still_there(tmp_path: Path) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])
    list(segment_cohort(Segmenter(BrightnessBackend()), cases, _run(tmp_path / "out")))
    (tmp_path / "cases" / "Case-1" / "Case-1-t2w.nii.gz").write_bytes(b"")
    outcomes = list(segment_cohort(Segmenter(BrightnessBackend()), cases, _run(tmp_path / "out")))
    assert [outcome.is_stale for outcome in outcomes] == [False, True, False]


def test_an_engine_that_fails_on_one_case_goes_on_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = BrightnessBackend()
    logits, calls = backend.logits, iter(range(3))

    def short_of_memory_once(windows: FloatArray) -> FloatArray:
        if next(calls) == 1:
            raise engine_failure(backend.device, windows, RuntimeError("out of memory\nand a trace"))
        return logits(windows)

    monkeypatch.setattr(backend, "logits", short_of_memory_once)
    cases = find_cases([_three_cases(tmp_path / "cases")])
    outcomes = list(segment_cohort(Segmenter(backend), cases, _run(tmp_path / "out")))
    assert [outcome.path is not None for outcome in outcomes] == [True, False, True]
    assert "numpy in float32 on none failed on 1 x 4 x" in str(outcomes[1].error)
    assert "out of memory; if memory was short" in str(outcomes[1].error)


def test_a_result_never_takes_the_place_of_an_input(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "Case-0")
    scan = folder / "scan.nii.gz"
    (folder / "Case-0-t1n.nii.gz").rename(scan)
    before = scan.read_bytes()
    named = {modality: folder / f"Case-0-{modality}.nii.gz" for modality in ("t1c", "t2w", "t2f")}
    files = named_case({"t1n": scan, **named})
    (outcome,) = segment_cohort(Segmenter(BrightnessBackend()), [files], _run(folder))
    assert "one of its own files: choose another --out" in str(outcome.error)
    assert not outcome.is_stale
    assert scan.read_bytes() == before


def test_a_second_run_writes_the_same_bytes(tmp_path: Path) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])
    contents = []
    for _ in range(2):
        list(segment_cohort(Segmenter(BrightnessBackend()), cases, _run(tmp_path / "out")))
        contents.append([path.read_bytes() for path in sorted((tmp_path / "out").glob("*.nii.gz"))])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("reads_ahead", [True, False])
def test_every_case_gets_a_line_of_results_in_order(reads_ahead: bool, tmp_path: Path) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])
    run = _run(tmp_path / "out", reads_ahead=reads_ahead)
    outcomes = list(segment_cohort(Segmenter(BrightnessBackend()), cases, run))
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["case"] for line in lines] == [outcome.name for outcome in outcomes] == ["Case-0", "Case-1", "Case-2"]
    assert all(len(line["inputs_sha256"]) == 4 and line["plan"]["passes"] == 1 for line in lines)


def _spoil_nothing(_: Path) -> None:
    pass


def _delete_the_result(folder: Path) -> None:
    (folder / "out" / "Case-1.nii.gz").unlink()


def _delete_the_record(folder: Path) -> None:
    (folder / "out" / "Case-1.json").unlink()


def _cut_the_result(folder: Path) -> None:
    path = folder / "out" / "Case-1.nii.gz"
    path.write_bytes(path.read_bytes()[:-9])


def _exchange_the_result(folder: Path) -> None:
    (folder / "out" / "Case-1.nii.gz").write_bytes((folder / "out" / "Case-0.nii.gz").read_bytes())


def _alter_an_image(folder: Path) -> None:
    one, other = (folder / "cases" / f"Case-{number}" / f"Case-{number}-t2w.nii.gz" for number in (1, 0))
    one.write_bytes(other.read_bytes())


def _garble_the_record(folder: Path) -> None:
    (folder / "out" / "Case-1.json").write_text("{")


def _empty_the_record(folder: Path) -> None:
    (folder / "out" / "Case-1.json").write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "again"),
    [
        (_spoil_nothing, []),
        (_delete_the_result, ["Case-1"]),
        (_delete_the_record, ["Case-1"]),
        (_cut_the_result, ["Case-1"]),
        (_exchange_the_result, ["Case-1"]),
        (_alter_an_image, ["Case-1"]),
        (_garble_the_record, ["Case-1"]),
        (_empty_the_record, ["Case-1"]),
    ],
)
def test_resuming_does_again_what_no_longer_holds_and_nothing_else(
    spoil: Callable[[Path], None], again: list[str], tmp_path: Path
) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])
    list(segment_cohort(Segmenter(BrightnessBackend()), cases, _run(tmp_path / "out", bundle_sha256="abc")))
    spoil(tmp_path)
    run = _run(tmp_path / "out", is_resumed=True, bundle_sha256="abc")
    outcomes = list(segment_cohort(Segmenter(BrightnessBackend()), cases, run))
    assert [outcome.name for outcome in outcomes if not outcome.is_kept] == again
    assert all(outcome.error is None for outcome in outcomes)
    outcomes = list(segment_cohort(Segmenter(BrightnessBackend()), cases, run))
    assert all(outcome.is_kept for outcome in outcomes)


@pytest.mark.parametrize("fact", ["bundle_sha256", "engine_sha256", "device_as_opened", "asked_for"])
def test_resuming_with_another_bundle_engine_device_or_setting_does_all_again(fact: str, tmp_path: Path) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])
    list(segment_cohort(Segmenter(BrightnessBackend()), cases, _run(tmp_path / "out", **{fact: "abc"})))
    run = _run(tmp_path / "out", is_resumed=True, **{fact: "abd"})
    assert not any(outcome.is_kept for outcome in segment_cohort(Segmenter(BrightnessBackend()), cases, run))


def test_a_record_names_what_computed_its_case_and_not_what_was_opened(tmp_path: Path) -> None:
    [files, *_] = find_cases([_three_cases(tmp_path / "cases")])
    segmenter, run = Segmenter(BrightnessBackend()), _run(tmp_path / "out", device_as_opened="ways by trial")
    [outcome] = segment_cohort(segmenter, [files], run)
    assert outcome.record is not None
    assert outcome.record["computed_by"] == str(segmenter.backend.device)
    assert outcome.record["device_as_opened"] == "ways by trial"


def test_a_result_that_cannot_be_written_ends_the_run_with_the_file_in_the_error(tmp_path: Path) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])
    (tmp_path / "out" / "Case-1.nii.gz").mkdir(parents=True)
    outcomes = segment_cohort(Segmenter(BrightnessBackend()), cases, _run(tmp_path / "out"))
    assert next(outcomes).name == "Case-0"
    with pytest.raises(OSError, match=r"Case-1\.nii\.gz"):
        next(outcomes)
    assert not list((tmp_path / "out").glob(".*"))


def test_shares_hold_every_case_once(tmp_path: Path) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])
    shares = [shard(cases, part, 2) for part in (1, 2)]
    assert [[files.name for files in share] for share in shares] == [["Case-0", "Case-2"], ["Case-1"]]


def _give_a_background(folder: Path, case: str) -> None:
    for path in (folder / case).glob("*-t1c.nii.gz"):
        image = nibabel.load(path)
        write_nifti(path, np.asarray(image.dataobj) + np.float32(500), image.affine)


def test_a_suspected_case_is_refused_and_forced_only_on_the_record(tmp_path: Path) -> None:
    folder = _three_cases(tmp_path / "cases")
    _give_a_background(folder, "Case-1")
    cases = find_cases([folder])
    segmenter = Segmenter(BrightnessBackend(), intake=Intake())
    outcomes = list(segment_cohort(segmenter, cases, _run(tmp_path / "out")))
    assert [outcome.path is not None for outcome in outcomes] == [True, False, True]
    assert "the background of t1c is not zero" in str(outcomes[1].error)
    forced = Segmenter(BrightnessBackend(), intake=Intake(is_forced=True))
    again = list(segment_cohort(forced, cases, _run(tmp_path / "out", is_resumed=True, is_forced=True)))
    assert [outcome.is_kept for outcome in again] == [True, False, True]
    records = [json.loads((tmp_path / "out" / f"Case-{number}.json").read_text()) for number in range(3)]
    assert [record["overridden"] for record in records] == [[], ["the background of t1c is not zero"], []]


def test_what_was_forced_is_not_kept_by_a_run_that_forces_nothing(tmp_path: Path) -> None:
    folder = _three_cases(tmp_path / "cases")
    _give_a_background(folder, "Case-1")
    cases = find_cases([folder])
    forced = Segmenter(BrightnessBackend(), intake=Intake(is_forced=True))
    list(segment_cohort(forced, cases, _run(tmp_path / "out", is_forced=True)))
    segmenter = Segmenter(BrightnessBackend(), intake=Intake())
    outcomes = list(segment_cohort(segmenter, cases, _run(tmp_path / "out", is_resumed=True, is_forced=False)))
    assert [outcome.is_kept for outcome in outcomes] == [True, False, True]
    assert outcomes[1].error is not None


def test_a_case_without_its_line_of_results_is_not_done(tmp_path: Path) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])[:1]
    (tmp_path / "out" / "results.jsonl").mkdir(parents=True)  # cannot be written
    with pytest.raises(IsADirectoryError):
        list(segment_cohort(Segmenter(BrightnessBackend()), cases, _run(tmp_path / "out")))
    (tmp_path / "out" / "results.jsonl").rmdir()
    [outcome] = segment_cohort(Segmenter(BrightnessBackend()), cases, _run(tmp_path / "out", is_resumed=True))
    assert not outcome.is_kept
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 1


def test_memory_that_runs_out_costs_one_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = BrightnessBackend()
    logits, calls = backend.logits, iter(range(3))

    def short_once(windows: FloatArray) -> FloatArray:
        if next(calls) == 1:
            raise MemoryError
        return logits(windows)

    monkeypatch.setattr(backend, "logits", short_once)
    cases = find_cases([_three_cases(tmp_path / "cases")])
    outcomes = list(segment_cohort(Segmenter(backend), cases, _run(tmp_path / "out")))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert "memory ran out" in str(outcomes[1].error)


@pytest.mark.parametrize(("cases_more", "is_ahead"), [(0, False), (10, True)])
def test_the_next_case_is_read_later_where_it_would_cost_this_one_its_one_pass(
    cases_more: int, is_ahead: bool, tmp_path: Path
) -> None:
    cases = find_cases([_three_cases(tmp_path / "cases")])
    prepared = Segmenter(BrightnessBackend()).prepare(read_case(cases[0]))
    alone = Segmenter(BrightnessBackend()).plan_prepared(prepared).peak_bytes
    segmenter = Segmenter(BrightnessBackend(), Wish(budget_bytes=alone + cases_more * prepared.reading_bytes))
    plain, read, is_second_read = segmenter.prepare, [], threading.Event()

    def prepare(case: Case) -> Prepared:
        read.append(case.name)
        if len(read) == 2:
            is_second_read.set()
        return plain(case)

    def on_plan(name: str, plan: Plan) -> None:
        assert plan.passes == 1
        if name == "Case-0":  # the network waits for this
            assert is_second_read.wait(20) if is_ahead else read == ["Case-0"]

    segmenter.prepare = prepare  # type: ignore[method-assign]
    outcomes = list(segment_cohort(segmenter, cases, _run(tmp_path / "out"), on_plan))
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert read == ["Case-0", "Case-1", "Case-2"]
