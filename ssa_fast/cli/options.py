"""Options and arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ssa_fast.errors import ConfigError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import CaseFiles, find_cases, named_case

__all__ = ["FOLDER", "PATH", "cases_argument", "chosen_cases", "modality_options"]

PATH = click.Path(path_type=Path)
Function = TypeVar("Function", bound=Callable[..., Any])
FOLDER = click.Path(path_type=Path, file_okay=False)

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
