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

__all__ = ["FOLDER", "PATH", "bytes_of", "cases_argument", "chosen_cases", "modality_options"]

PATH = click.Path(path_type=Path)
Function = TypeVar("Function", bound=Callable[..., Any])
FOLDER = click.Path(path_type=Path, file_okay=False)

_SIZE = re.compile(r"([0-9]*\.?[0-9]+)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


def bytes_of(size: str) -> int:
    """Bytes of such as 3.4GB (thousands) or 3.2GiB (1024s).

    Raises click.BadParameter for another text.
    """
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        raise click.BadParameter(f"'{size}' is no size: wanted such as 3.4GB")
    number, prefix, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix.upper() or " "))


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
