"""The command line: one file a verb. Only here is anything printed, and an error becomes one line and an exit code."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

import ssa_fast
from ssa_fast.errors import SsaFastError

__all__ = ["cli", "main"]

# a verb's module is imported only when the verb is used: --help must not wait for torch
_VERBS = {
    "describe": "Analyse a data set: numbers, one figure, suspicions.",
    "doctor": "What this machine has, will use, and gets wrong.",
    "evaluate": "Score segmentations against references; draw them.",
    "export": "Turn a checkpoint or bundle into a bundle or an engine.",
    "infer": "Segment cases.",
    "page": "Write pages to look at segmentations in a browser.",
    "parity": "Hold a bundle or an engine against its float32 bundle again.",
    "phantom": "Write artificial cases with an exact reference.",
    "prepare": "Check cases; crop and normalize them for training.",
    "report": "Figures, tables and scores on one page.",
    "roofline": "The least time a network can take on a device.",
    "train": "Train a network on cases with references.",
    "verify": "Check a prepared folder or a folder of patches.",
}


class _Verbs(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(f"ssa_fast.cli.{name}").command
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(ssa_fast.__version__, prog_name="ssa-fast")
@click.option("-v", "--verbose", is_flag=True, help="Say more of what is done and why.")
def cli(verbose: bool) -> None:
    """Segment brain tumors in MRI of the BraTS-SSA kind: fast, on small machines.

    Exit codes: 0 done, 1 nobody reads the output any more, 2 something in the input or the settings must be mended,
    130 interrupted, 143 terminated.
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s: %(message)s")


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # a batch system's way of ending a job
        signal.signal(signal.SIGTERM, _end)
    try:
        cli(prog_name="ssa-fast", standalone_mode=False)
    except SsaFastError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(_words(error), err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that may not be written
        click.echo(f"error: {error.filename or 'file'}: {error.strerror or error}", err=True)
        sys.exit(2)
    sys.exit(0)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """End as after Ctrl-C, so that what is being written is written whole or not at all."""
    os.write(2, b"terminated\n")  # not click.echo: the signal may have come while it was printing
    sys.exit(128 + number)


def _words(error: click.ClickException) -> str:
    """One line; the whole help where nothing was asked for, which newer versions of click call an error."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    message = error.format_message()
    if context is None:
        return f"error: {message}"
    if message == context.get_help():
        return message
    line = " ".join(message.split()).rstrip(".")
    return f"error: {line} (see '{context.command_path} --help')"
