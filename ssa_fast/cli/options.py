"""Options and arguments that several verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ssa_fast.errors import ConfigError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import CaseFiles, find_cases, named_case

__all__ = [
    "ARITHMETIC",
    "FOLDER",
    "PATH",
    "WindowCommand",
    "arithmetic_of",
    "bytes_of",
    "cases_argument",
    "chosen_cases",
    "modality_options",
    "share_of",
    "window_of",
]

PATH = click.Path(path_type=Path)
Function = TypeVar("Function", bound=Callable[..., Any])
FOLDER = click.Path(path_type=Path, file_okay=False)

ARITHMETIC = ("auto", "float32", "bf16", "float16")
_SIZE = re.compile(r"([0-9]*\.?[0-9]+)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


def arithmetic_of(text: str) -> str:
    """What a bundle is run in: one of ARITHMETIC.

    Raises click.BadParameter for another text; for int8 with how to come by a bundle that is in int8.
    """
    if text == "int8":
        raise click.BadParameter(
            "a bundle is in int8 or is not: make one by 'ssa-fast export fast --precision int8 --cases CASES "
            "--out fast-int8.onnx' (extra 'export'), then run it by --bundle fast-int8.onnx, without --precision"
        )
    return str(click.Choice(ARITHMETIC).convert(text, None, None))


def bytes_of(size: str) -> int:
    """Bytes of such as 3.4GB (thousands) or 3.2GiB (1024s).

    Raises click.BadParameter for another text.
    """
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        raise click.BadParameter(f"'{size}' is no size: wanted such as 3.4GB")
    number, prefix, binary = match.groups()
    given = int(float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix.upper() or " "))
    if given < 1:
        raise click.BadParameter(f"'{size}' is nothing: wanted such as 3.4GB")
    return given


def window_of(text: str) -> tuple[int, int, int]:
    """Edges X Y Z in voxels of such as 96, a cube, or 96x112x96.

    Raises click.BadParameter for another text.
    """
    numbers = text.lower().split("x")
    if len(numbers) not in (1, 3) or not all(number.strip().isdecimal() for number in numbers):
        raise click.BadParameter(f"'{text}' is no window: wanted one edge in voxels, such as 96, or three, X Y Z")
    x, y, z = (int(number) for number in (numbers * 3)[:3])
    return x, y, z


class WindowCommand(click.Command):
    """A command whose --window takes X Y Z in three words too: click gives an option as many words each time."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As of click, after the numbers behind --window are made one word."""
        joined: list[str] = []
        for word in args:
            last = joined[-1] if joined else ""
            if word.isdecimal() and last == "--window":
                joined[-1] = f"--window={word}"
            elif word.isdecimal() and re.fullmatch(r"--window=\d+(x\d+)?", last):
                joined[-1] += f"x{word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


cases_argument = click.argument("cases", nargs=-1, type=PATH)


def modality_options(command: Function) -> Function:
    """Add --t1n, --t1c, --t2w and --t2f: one case by four files of any name."""
    for modality in reversed(MODALITIES):
        option = click.option(f"--{modality}", type=PATH, metavar="FILE", help=f"The {modality} image of one case.")
        command = option(command)
    return command


def chosen_cases(cases: tuple[Path, ...], named: dict[str, Path | None]) -> list[CaseFiles]:
    """The cases that the arguments, or the four modality options, stand for.

    Raises ConfigError if both are given, neither, or not all four.
    """
    given = {modality: path for modality, path in named.items() if path is not None}
    if given and cases:
        raise ConfigError("give cases, or --t1n --t1c --t2w --t2f for one case, not both")
    if given:
        missing = [f"--{modality}" for modality in MODALITIES if modality not in given]
        if missing:
            raise ConfigError(f"one case needs all four modalities: {' '.join(missing)} missing")
        return [named_case(given)]
    if not cases:
        raise ConfigError("no case is given: name a case folder, a folder of cases, or files")
    return find_cases(cases)


def share_of(text: str) -> tuple[int, int]:
    """The part, from 1, and all parts of such as 2/8. Raises ConfigError for another text."""
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ConfigError(f"--shard {text}: wanted N/ALL with N from 1 to ALL, such as 2/8")
    return int(part), int(parts)
