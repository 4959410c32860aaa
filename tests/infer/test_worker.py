"""A worker: it sees the run's folders, keeps to its share of the machine, and answers without labels."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ssa_fast.backends.base import Footprint
from ssa_fast.errors import BackendUnavailable, CaseError, ConfigError
from ssa_fast.infer.cohort import CohortRun
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.infer.worker import Opener, Place, Ready, Work, Worker
from ssa_fast.volume.case import find_cases
from tests.cases import write_case
from tests.infer.fakes import BrightnessBackend, open_brightness, open_nothing

PLACE = Place(machine="one", node="0", threads=1, memory_bytes=10**9)


def _work(folder: Path, opener: Opener = open_brightness) -> Work:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    (out / ".token.mark").write_text("token")
    return Work(
        open=opener,
        run=CohortRun(out=out, facts={}, results=None, reads_ahead=False),
        folders=(folder,),
        mark=out / ".token.mark",
        token="token",
        log_level=logging.INFO,
    )


def _opened(work: Work, place: Place = PLACE) -> Worker:
    """In a thread of its own: a worker binds the thread that opens it to its share of the cores."""
    worker = Worker(work, place)
    with ThreadPoolExecutor(1) as thread:
        ready = thread.submit(worker.open).result()
    assert isinstance(ready, Ready), ready
    assert (ready.network, ready.fingerprint) == ("brightness", "abc None")
    return worker


def _refusal(work: Work, place: Place = PLACE) -> Exception:
    with ThreadPoolExecutor(1) as thread:
        error = thread.submit(Worker(work, place).open).result()
    assert isinstance(error, Exception)
    return error


def test_an_answer_is_small_and_the_label_map_is_written_and_nothing_else(tmp_path: Path) -> None:
    [files] = find_cases([write_case(tmp_path, "Case-0")])
    answer = _opened(_work(tmp_path)).segment(files)
    assert len(pickle.dumps(answer)) < 10_000
    assert answer.outcome is not None
    assert answer.outcome.segmentation is None
    assert answer.plan is not None
    assert answer.outcome.record is not None
    assert answer.outcome.record["device_as_opened"] == "numpy"
    assert answer.outcome.record["share_bytes"] == PLACE.memory_bytes
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".token.mark", "Case-0.nii.gz"]


def test_a_worker_leaves_it_to_who_settles_to_clear_up(tmp_path: Path) -> None:
    """Its clock may be another than that of who is writing, and whom it sees nothing of."""
    [files] = find_cases([write_case(tmp_path, "Case-0")])
    work = _work(tmp_path)
    others = tmp_path / "out" / ".Case-1.nii.gz.1234.partial"
    others.write_bytes(b"half")
    os.utime(others, (0, 0))
    assert _opened(work).segment(files).failure is None
    assert others.exists()


def test_what_is_logged_over_a_case_is_in_its_answer(tmp_path: Path) -> None:
    [files] = find_cases([write_case(tmp_path, "Case-0", affine=np.diag([1.0, 1, 5, 1]))])
    answer = _opened(_work(tmp_path)).segment(files)
    warnings = [message for _, level, message in answer.said if level == logging.WARNING]
    assert warnings == [
        "case Case-0: voxels of 1 x 1 x 5 mm are resampled to 1 mm, as the network was trained on: expect less of it"
    ]
    assert logging.getLogger("ssa_fast").handlers == []


def test_an_error_of_a_case_is_in_its_answer_and_can_be_sent(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "Case-0")
    [files] = find_cases([folder])
    (folder / "Case-0-t2w.nii.gz").write_bytes(b"")
    answer = pickle.loads(pickle.dumps(_opened(_work(tmp_path)).segment(files)))
    assert isinstance(answer.outcome.error, CaseError)
    assert "Case-0-t2w.nii.gz" in str(answer.outcome.error)


def test_a_result_that_cannot_be_written_is_in_the_answer_and_can_be_sent(tmp_path: Path) -> None:
    [files] = find_cases([write_case(tmp_path, "Case-0")])
    (tmp_path / "out" / "Case-0.nii.gz").mkdir(parents=True)
    answer = pickle.loads(pickle.dumps(_opened(_work(tmp_path)).segment(files)))
    assert answer.outcome is None
    assert answer.failure.filename == str(tmp_path / "out" / "Case-0.nii.gz")


@pytest.mark.parametrize("spoil", ["absent", "another", "no cases"])
def test_a_machine_that_does_not_see_the_folders_is_refused(spoil: str, tmp_path: Path) -> None:
    work = _work(tmp_path)
    if spoil == "absent":
        work.mark.unlink()
    elif spoil == "another":
        work.mark.write_text("of another run")
    else:
        work = dataclasses.replace(work, folders=(tmp_path / "cases",))
    error = _refusal(work)
    assert isinstance(error, ConfigError)
    assert str(error).startswith(str(tmp_path / ("cases" if spoil == "no cases" else "out")))
    assert "under the same path" in str(error)


def test_a_library_that_is_missing_is_an_answer(tmp_path: Path) -> None:
    assert isinstance(_refusal(_work(tmp_path, open_nothing)), BackendUnavailable)


def test_a_worker_tells_the_fingerprint_of_every_bundle_of_an_ensemble(tmp_path: Path) -> None:
    def opener(bundles: list[str]) -> Opener:
        facts = {"bundle_sha256": bundles, "engine_sha256": [None] * len(bundles)}
        return lambda _: (Segmenter(BrightnessBackend()), facts)

    with ThreadPoolExecutor(1) as thread:
        one, other = (
            thread.submit(Worker(_work(tmp_path, opener(bundles)), PLACE).open).result()
            for bundles in (["abc", "abd"], ["abc", "abe"])
        )
    assert isinstance(one, Ready)
    assert isinstance(other, Ready)
    with pytest.raises(ConfigError, match="machine two has another network"):
        other.check_like(one, "two")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system binds no thread to cores")
def test_workers_of_a_machine_have_cores_of_their_own(tmp_path: Path) -> None:
    def cores(number: int) -> set[int]:
        place = dataclasses.replace(PLACE, first_core=number, workers=2)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(Worker(_work(tmp_path), place).open).result()
            return thread.submit(os.sched_getaffinity, 0).result()

    there = os.sched_getaffinity(0)
    shares = [cores(number) for number in range(len(there))]
    assert all(len(share) == 1 for share in shares)
    assert set.union(*shares) == there


def test_workers_that_would_share_a_gpu_are_refused(tmp_path: Path) -> None:
    backend = BrightnessBackend()
    backend.footprint = Footprint(held_bytes=0, share=1.0, is_host=False)
    work = _work(tmp_path, lambda _: (Segmenter(backend), {"bundle_sha256": "abc"}))
    error = _refusal(work, dataclasses.replace(PLACE, workers=2))
    assert "2 workers would share numpy in float32 on none" in str(error)
    _opened(work)


def test_a_record_that_is_sent_is_plain_values(tmp_path: Path) -> None:
    [files] = find_cases([write_case(tmp_path, "Case-0")])
    outcome = _opened(_work(tmp_path)).segment(files).outcome
    assert outcome is not None
    assert json.loads(json.dumps(outcome.record)) == outcome.record


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"version": "9.9"}, "machine two has ssa-fast 9.9, another one 0.1: install one version"),
        ({"fingerprint": "abd"}, "machine two has another network 'lite': let --bundle be one file"),
    ],
)
def test_workers_with_another_version_or_network_are_refused(other: dict[str, str], words: str) -> None:
    first = Ready(network="lite", device="one", fingerprint="abc", chosen="", version="0.1")
    dataclasses.replace(first, device="another").check_like(first, "two")
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(first, **other).check_like(first, "two")
