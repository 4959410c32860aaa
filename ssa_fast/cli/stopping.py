"""A run that is asked to stop by a signal ends what it is in, and saves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stop_signals"]

_PATIENCE_S = 1.0  # a wrapper such as `timeout` may send one signal twice
_STOPPING = b"stopping after this step; Ctrl-C again ends at once, without saving\n"


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM, a batch system's way of ending a job, has been sent since: to be asked between steps.

    A second Ctrl-C, `_PATIENCE_S` or more after the first signal, raises KeyboardInterrupt wherever the program is.
    """
    asked_at: list[float] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        if not asked_at:
            # not click.echo: the signal may have come while it was printing; on a terminal, behind the bar and a ^C
            os.write(2, b"\n" + _STOPPING if os.isatty(2) else _STOPPING)
        elif number == signal.SIGINT and time.monotonic() - asked_at[0] >= _PATIENCE_S:
            raise KeyboardInterrupt
        asked_at.append(time.monotonic())

    # a signal that whoever started us ignores (a script's background job, Ctrl-C) stays ignored
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = {number: handler for number, handler in earlier.items() if handler is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, ask)
    try:
        yield lambda: bool(asked_at)
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
