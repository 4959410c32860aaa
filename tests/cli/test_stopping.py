"""A run hears Ctrl-C and SIGTERM between its steps."""

from __future__ import annotations

import os
import signal

import pytest

from ssa_fast.cli import stopping
from ssa_fast.cli.stopping import stop_signals


def test_a_second_ctrl_c_ends_at_once_and_the_handlers_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_PATIENCE_S", 0.0)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_signals() as is_stopped:
        assert not is_stopped()
        os.kill(os.getpid(), signal.SIGINT)
        assert is_stopped()
        os.kill(os.getpid(), signal.SIGTERM)  # a batch system that repeats itself
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals() as is_stopped:
            os.kill(os.getpid(), signal.SIGINT)
            assert not is_stopped()
    finally:
        signal.signal(signal.SIGINT, before)
