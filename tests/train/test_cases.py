"""Cases that several runs share are read once, and phantoms made once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ssa_fast.train import cases as module
from ssa_fast.train.cases import CaseStore
from ssa_fast.volume.case import find_cases
from tests.cases import write_case


def test_a_case_is_read_when_it_is_first_asked_for_and_once(tmp_path: Path) -> None:
    write_case(tmp_path, "Case-0")
    [files] = find_cases([tmp_path])
    store = CaseStore()
    case = store.case(files)
    assert case.name == "Case-0"
    assert store.case(files) is case
    assert CaseStore().case(files) is not case


def test_phantoms_are_made_once_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "phantom_training_case", lambda seed, index: object())
    store = CaseStore()
    with caplog.at_level(logging.INFO):
        two, three, other = store.phantoms(1, 2), store.phantoms(1, 3), store.phantoms(2, 1)
        assert store.phantoms(1, 0) == []
    assert two == three[:2]
    assert other[0] not in three
    assert caplog.messages == ["making 2 phantoms", "making 1 phantoms", "making 1 phantoms"]
