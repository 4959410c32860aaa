"""Answers on the disk: the same as in memory, one in memory at a time, and gone in the end."""

from __future__ import annotations

import errno
import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ssa_fast.backends import Backend
from ssa_fast.export import stored_answers as module
from ssa_fast.export.parity import Answer, Proof, answers_of, open_reference, read_proofs
from ssa_fast.export.stored_answers import stored_answers
from ssa_fast.model.bundle import read_bundle
from ssa_fast.volume.case import CaseFiles, find_cases
from tests.cases import write_case


@pytest.fixture(scope="module")
def reference(tiny_bundle_path: Path) -> Backend:
    return open_reference(read_bundle(tiny_bundle_path))[1]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    folder = tmp_path_factory.mktemp("cases")
    for seed, name in enumerate(("A", "B", "C")):
        write_case(folder, name, seed=seed, labels=name != "B")
    return find_cases([folder])


def _divisor(reference: Backend) -> int:
    return reference.spec.divisor


def _is_equal(one: Answer, other: Answer) -> bool:
    pairs = [
        (one.logits, other.logits),
        (one.labels, other.labels),
        (one.proof.windows, other.proof.windows),
        (one.proof.foreground, other.proof.foreground),
    ]
    if one.proof.truth is not None and other.proof.truth is not None:
        pairs.append((one.proof.truth, other.proof.truth))
    is_one = (one.proof.truth is None) == (other.proof.truth is None) and one.proof.name == other.proof.name
    return is_one and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def test_they_are_those_that_memory_would_hold_and_are_gone_in_the_end(
    reference: Backend, cases: list[CaseFiles], tmp_path: Path
) -> None:
    wanted = answers_of(reference, read_proofs(cases, _divisor(reference)))
    assert [one.proof.truth is None for one in wanted] == [False, True, False]
    with stored_answers(reference, read_proofs(cases, _divisor(reference)), tmp_path / "not" / "there") as answers:
        [folder] = tmp_path.iterdir()
        assert folder.name.endswith(".partial")
        assert len(answers) == 3
        for _ in range(2):  # read again each time
            assert all(_is_equal(one, other) for one, other in zip(answers, wanted, strict=True))
        assert _is_equal(answers[-1], wanted[2])
        assert [one.proof.name for one in answers[1:]] == ["B", "C"]
    assert not list(tmp_path.iterdir())


def test_no_more_than_one_brain_is_held(reference: Backend, cases: list[CaseFiles], tmp_path: Path) -> None:
    def alive() -> int:
        gc.collect()
        return sum(type(one) is Proof for one in gc.get_objects())

    before, seen = alive(), []

    def watched() -> Iterator[Proof]:
        for files in cases:
            seen.append(alive() - before)
            yield from read_proofs([files], _divisor(reference))

    with stored_answers(reference, watched(), tmp_path) as answers:
        assert len(list(tmp_path.iterdir())) == 1  # a user of a folder need not be able to write beside it
        assert seen == [0, 0, 0]
        for _ in answers:
            assert alive() - before <= 1


def test_a_full_disk_is_told_and_nothing_is_left(
    reference: Backend, cases: list[CaseFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.np, "savez", full)
    with (
        pytest.raises(OSError, match="No space left") as caught,
        stored_answers(reference, read_proofs(cases, _divisor(reference)), tmp_path / "out.onnx"),
    ):
        pass
    assert str(caught.value.filename).startswith(str(tmp_path))
    assert not list(tmp_path.iterdir())
