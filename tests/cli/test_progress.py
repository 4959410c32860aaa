"""What a run says: one rewritten line on a terminal, line after line elsewhere."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil

import pytest

from ssa_fast.cli.progress import notices_display, progress_display
from ssa_fast.errors import ShapeError
from ssa_fast.train.meter import Pace
from ssa_fast.train.progress import NOTICES, Progress
from ssa_fast.train.records import Epoch, HeldOutScores

DICE = {"background": 0.999, "NCR": 0.5, "ED": 0.6, "ET": 0.7, "WT": 0.9, "TC": 0.8}
ON_A_GPU = Pace(
    steps_per_second=3.1,
    patches_per_second=3.1,
    share_of_peak=0.614,
    gpu_utilization=0.921,
    gpu_memory_bytes=3_410_000_000,
)


def _progress(
    step: int, *, loss: float = 0.5, seconds_left: float = 0.0, pace: Pace = ON_A_GPU, epoch: int = 0
) -> Progress:
    line = Epoch(
        epoch=epoch,
        step=step,
        loss=0.6,
        learning_rate=1e-3,
        seconds=75.2,
        peak_memory_bytes=2_840_000_000,
        share_of_peak=pace.share_of_peak,
        held_out=HeldOutScores(dice=DICE, precision=DICE, recall=DICE, loss=0.7),
    )
    return Progress(
        step=step,
        steps=100,
        loss=loss,
        learning_rate=1e-3,
        pace=pace,
        peak_memory_bytes=2_840_000_000,
        seconds_left=seconds_left,
        epoch=line if epoch else None,
    )


def _wide(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))


class Terminal(io.StringIO):
    """A screen: a carriage return goes back to the line's begin, and what is written covers what was there."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        screen = []
        for line in self.getvalue().split("\n"):
            seen = ""
            for part in line.split("\r"):
                seen = part + seen[len(part) :]
            screen.append(seen.rstrip())
        return screen


def test_a_log_file_gets_a_line_a_report_and_a_line_an_epoch() -> None:
    log = io.StringIO()
    with progress_display(log) as display:
        display(_progress(20, seconds_left=3 * 3600 + 120))
        display(_progress(40, epoch=1, seconds_left=125, pace=Pace(steps_per_second=1, patches_per_second=2)))
    first, second, third = log.getvalue().splitlines()
    assert first.startswith("step 20/100  loss 0.500  3.10 patches/s  3 h 02 min left  61% of peak  GPU 92% busy, ")
    assert first.endswith(" busy, 3.41 GB in use  2.84 GB  rate 1.0e-03")
    assert second == "step 40/100  loss 0.500  2.00 patches/s  2 min left  2.84 GB  rate 1.0e-03"
    assert third.startswith("epoch 1: loss 0.600, held out 0.700; Dice background 0.999  NCR 0.500  ED 0.600  ET 0.700")
    assert third.endswith("WT 0.900  TC 0.800; 75 s, at most 2.84 GB")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s left"),
        (119.4, "119 s left"),
        (119.6, "2 min left"),
        (150, "2 min left"),
        (119.4 * 60, "119 min left"),
        (119.6 * 60, "2 h 00 min left"),
        (3 * 3600 + 125, "3 h 02 min left"),
    ],
)
def test_time_left_is_in_seconds_then_minutes_then_hours(seconds: float, words: str) -> None:
    log = io.StringIO()
    with progress_display(log) as display:
        display(_progress(20, seconds_left=seconds))
    assert f"  {words}  " in log.getvalue()


def test_a_terminal_has_one_line_that_is_rewritten_and_the_epochs_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _wide(monkeypatch, 200)
    terminal = Terminal()
    with progress_display(terminal) as display:
        display(_progress(20, seconds_left=7200))
        assert terminal.lines[-1].startswith("[##--------] 20/100  loss 0.500  3.10 patches/s  2 h 00 min left  ")
        display(_progress(50, loss=0.4, epoch=1))
        display(_progress(55, loss=0.3))
        assert len(terminal.lines) == 2
        assert terminal.lines[0].endswith("75 s, at most 2.84 GB; 61% of peak")
        assert terminal.lines[1].startswith("[#####-----] 55/100  loss 0.300")
        display(_progress(100, loss=0.2, epoch=2))
    assert [line.partition(":")[0] for line in terminal.lines[:2]] == ["epoch 1", "epoch 2"]
    assert terminal.lines[2].startswith("[##########] 100/100  loss 0.200")
    assert terminal.lines[3:] == [""]  # what comes next begins a line


def test_a_narrow_terminal_cuts_the_line_and_never_wraps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _wide(monkeypatch, 60)
    terminal = Terminal()
    with progress_display(terminal) as display:
        display(_progress(20))
        display(_progress(40))
    assert all(len(part) < 60 for part in terminal.getvalue().rstrip("\n").split("\r"))
    assert terminal.lines[0] == "[####------] 40/100  loss 0.500  3.10 patches/s  0 s left"[:59]


def test_what_a_run_does_between_reports_takes_the_place_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    _wide(monkeypatch, 80)
    terminal = Terminal()
    with progress_display(terminal) as display:
        display(_progress(50))
        NOTICES.info("validating %d/%d %s", 1, 3, "Case-7")
        assert terminal.lines == ["validating 1/3 Case-7"]
        NOTICES.warning("this stays")
        display(_progress(55))
    assert terminal.lines[0] == "this stays"
    assert terminal.lines[1].startswith("[#####-----] 55/100")


def test_what_a_run_does_between_reports_is_a_line_of_a_log_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    log = io.StringIO()
    with caplog.at_level(logging.INFO):
        with progress_display(log):
            NOTICES.info("validating 1/3 Case-7")
        assert caplog.messages == []
        NOTICES.info("elsewhere")
    assert log.getvalue() == "validating 1/3 Case-7\n"
    assert caplog.messages == ["elsewhere"]


def test_a_line_is_ended_when_the_run_fails() -> None:
    terminal = Terminal()

    def train_and_fail() -> None:
        with progress_display(terminal) as display:
            display(_progress(20))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_and_fail()
    assert terminal.getvalue().endswith("\n")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals on this system")
def test_a_true_terminal_is_known_as_one() -> None:
    reader, writer = os.openpty()
    with os.fdopen(writer, "w", encoding="utf-8") as stream, progress_display(stream) as display:
        display(_progress(20))
        assert os.read(reader, 4096).startswith(b"\r[##--------] 20/100")
        display(_progress(40))
        assert os.read(reader, 4096).startswith(b"\r[####------] 40/100")
    os.close(reader)


def test_long_work_without_reports_shows_its_newest_notice_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _wide(monkeypatch, 80)
    notices, terminal = logging.getLogger("ssa_fast.of_tests"), Terminal()
    with notices_display(notices, terminal):
        notices.info("comparing 15 cases")
        notices.info("trying %d/%d", 1, 19)
        assert terminal.lines == ["trying 1/19"]
        notices.warning("this stays")
        notices.info("trying 2/19")
    terminal.write("wrote it")
    assert terminal.lines == ["this stays", "wrote it"]


def test_the_line_is_cleared_for_an_error_and_for_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    _wide(monkeypatch, 80)
    notices, terminal = logging.getLogger("ssa_fast.of_tests"), Terminal()
    log = logging.StreamHandler(terminal)
    logging.getLogger().addHandler(log)
    try:
        with contextlib.suppress(ShapeError), notices_display(notices, terminal):
            notices.info("comparing 15 cases")
            logging.getLogger("ssa_fast.another").warning("a bad file")
            notices.info("trying 2/19")
            raise ShapeError
    finally:
        logging.getLogger().removeHandler(log)
    assert log.filters == []
    terminal.write("Error: it went wrong")
    assert terminal.lines == ["a bad file", "Error: it went wrong"]


def test_notices_are_lines_of_a_log_and_only_while_they_are_shown(caplog: pytest.LogCaptureFixture) -> None:
    notices, log = logging.getLogger("ssa_fast.of_tests"), io.StringIO()
    level = notices.level
    with caplog.at_level(logging.INFO), notices_display(notices, log):
        notices.info("comparing 15 cases")
    assert (log.getvalue(), caplog.messages) == ("comparing 15 cases\n", [])
    notices.warning("in the log again")
    assert (log.getvalue(), caplog.messages) == ("comparing 15 cases\n", ["in the log again"])
    assert notices.level == level
