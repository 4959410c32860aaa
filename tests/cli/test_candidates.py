"""The table of what was tried for an engine."""

from __future__ import annotations

import pytest

from ssa_fast.backends.manifest import Candidate
from ssa_fast.cli.candidates import print_candidates

BUILT = Candidate(name="bf16", build_seconds=1.25, milliseconds=520.0, label_agreement=0.9999, verdict="kept")
DROPPED = Candidate(name="float16", verdict="dropped: widened")


def test_columns_stand_under_their_heads_and_one_without_values_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_candidates([BUILT, DROPPED])
    assert capsys.readouterr().out.splitlines() == [
        "candidate  built in  a window  equal labels  verdict",
        "bf16       1.2 s     520.0 ms  99.9900%      kept",
        "float16                                      dropped: widened",
    ]


def test_memory_has_its_column_where_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_candidates([Candidate(name="float32", planned_bytes=1_500_000_000, verdict="built, not run")])
    assert capsys.readouterr().out.splitlines() == [
        "candidate  memory   verdict",
        "float32    1.50 GB  built, not run",
    ]
