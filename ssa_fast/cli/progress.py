"""What long work says on the terminal: one line that is rewritten, or in a log file line after line."""

from __future__ import annotations

import functools
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from ssa_fast.train.progress import Progress
    from ssa_fast.train.records import Epoch

__all__ = ["notices_display", "progress_display"]

_BAR = 10  # characters


@contextmanager
def progress_display(stream: TextIO | None = None) -> Iterator[Callable[[Progress], None]]:
    """Shows what it is called with on `stream`, or else standard output: a bar where that is a terminal, else lines."""
    from ssa_fast.train.progress import NOTICES

    stream = sys.stdout if stream is None else stream
    bar = _Bar(stream) if stream.isatty() else None
    try:
        with _noticed(NOTICES, stream, bar):
            yield functools.partial(_write_lines, stream) if bar is None else bar.show
    finally:
        if bar is not None:
            bar.close()


@contextmanager
def notices_display(notices: logging.Logger, stream: TextIO | None = None) -> Iterator[None]:
    """Shows what is logged to `notices`, on `stream` or else standard error: on a terminal the newest alone."""
    stream = sys.stderr if stream is None else stream
    bar = _Bar(stream) if stream.isatty() else None
    try:
        with _noticed(notices, stream, bar):
            yield
    finally:
        if bar is not None:
            bar.clear()


class _Noted(logging.Handler):
    def __init__(self, passing: Callable[[str], None], lasting: Callable[[str], None]) -> None:
        super().__init__()
        self._passing, self._lasting = passing, lasting

    def emit(self, record: logging.LogRecord) -> None:
        (self._lasting if record.levelno > logging.INFO else self._passing)(record.getMessage())


@contextmanager
def _noticed(notices: logging.Logger, stream: TextIO, bar: _Bar | None) -> Iterator[None]:
    """What work says between its reports is shown in the bar's place or as a line, and not in the log too."""
    write = functools.partial(click.echo, file=stream)
    handler = _Noted(write, write) if bar is None else _Noted(bar.cover, bar.keep)
    level = notices.level

    def make_room(_: logging.LogRecord) -> bool:
        if bar is not None:
            bar.clear()
        return True

    logs = tuple(logging.getLogger().handlers)
    notices.addHandler(handler)
    notices.setLevel(logging.INFO)
    notices.propagate = False
    for log in logs:
        log.addFilter(make_room)  # or what the program's log says would share the bar's line
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(make_room)
        notices.propagate = True
        notices.setLevel(level)
        notices.removeHandler(handler)


def _write_lines(stream: TextIO, progress: Progress) -> None:
    click.echo(f"step {progress.step}/{progress.steps}  {_words(progress)}", file=stream)
    if progress.epoch is not None:
        click.echo(_epoch_line(progress.epoch), file=stream)


class _Bar:
    """One line, the last of the terminal; the lines of epochs stand above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = ""

    def show(self, progress: Progress) -> None:
        """Bring the line up to date, and put above it the epoch that has ended."""
        if progress.epoch is not None:
            self._rewrite("")
            click.echo(f"\r{_epoch_line(progress.epoch)}", file=self._stream)
        done = _BAR * progress.step // progress.steps
        place = f"{progress.step}/{progress.steps}"
        self._rewrite(f"[{'#' * done}{'-' * (_BAR - done)}] {place}  {_words(progress)}")

    def cover(self, words: str) -> None:
        """Show the words in the line's place, until the next ones."""
        self._rewrite(words)

    def keep(self, words: str) -> None:
        """Show the words above the line."""
        self._rewrite("")
        click.echo(f"\r{words}", file=self._stream)

    def clear(self) -> None:
        """Leave an empty line, in which what comes next is written."""
        if self._shown:
            self._rewrite("")
            click.echo("\r", nl=False, file=self._stream)

    def close(self) -> None:
        """Leave the bar as it is; what comes next begins a line."""
        if self._shown:
            click.echo(file=self._stream)
            self._shown = ""

    def _rewrite(self, line: str) -> None:
        width = shutil.get_terminal_size().columns - 1  # in the last column some terminals begin a new line
        line = line[:width]
        # blanks over what was longer: an escape sequence for it is not known to every terminal
        click.echo("\r" + line.ljust(min(width, len(self._shown))), nl=False, file=self._stream)
        self._shown = line


def _words(progress: Progress) -> str:
    pace = progress.pace
    # what matters most is first: a narrow terminal cuts off the rest
    words = [f"loss {progress.loss:.3f}", f"{pace.patches_per_second:.2f} patches/s", _time_left(progress.seconds_left)]
    if pace.share_of_peak is not None:
        words.append(f"{pace.share_of_peak:.0%} of peak")
    words.extend(_gpu_words(pace.gpu_utilization, pace.gpu_memory_bytes))
    words += [f"{progress.peak_memory_bytes / 1e9:.2f} GB", f"rate {progress.learning_rate:.1e}"]
    return "  ".join(words)


def _gpu_words(utilization: float | None, memory_bytes: int | None) -> list[str]:
    if utilization is None or memory_bytes is None:
        return []
    return [f"GPU {utilization:.0%} busy, {memory_bytes / 1e9:.2f} GB in use"]


def _time_left(seconds: float) -> str:
    """To two or three digits: 119 s, 2 min, 119 min, 2 h 00 min."""
    minutes = round(seconds / 60)
    if minutes >= 120:
        return f"{minutes // 60} h {minutes % 60:02d} min left"
    return f"{minutes} min left" if round(seconds) >= 120 else f"{round(seconds)} s left"


def _epoch_line(epoch: Epoch) -> str:
    scores = epoch.held_out
    loss = f"loss {epoch.loss:.3f}" + (f", held out {scores.loss:.3f}" if scores and scores.loss is not None else "")
    parts = [f"epoch {epoch.epoch}: {loss}"]
    if scores:
        parts.append("Dice " + "  ".join(f"{name} {value:.3f}" for name, value in scores.dice.items()))
    parts.append(f"{epoch.seconds:.0f} s, at most {epoch.peak_memory_bytes / 1e9:.2f} GB")
    if epoch.share_of_peak is not None:
        parts.append(f"{epoch.share_of_peak:.0%} of peak")
    parts.extend(_gpu_words(epoch.gpu_utilization, epoch.gpu_memory_bytes))
    return "; ".join(parts)
