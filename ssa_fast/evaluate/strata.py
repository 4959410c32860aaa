"""Which group each case belongs to: a column of a table, or the tumour's volume."""

from __future__ import annotations

import csv
import difflib
import math
from pathlib import Path

from ssa_fast.errors import ConfigError
from ssa_fast.evaluate.scores import Evaluation
from ssa_fast.evaluate.statistics import terciles

__all__ = ["VOLUME", "check_table", "strata"]

VOLUME = "volume"
"""The column that needs no table: millilitres of whole tumour in the reference, in three groups of cases."""

_MOST_GROUPS = 6  # of numbers; of more, thirds are made
_CASE_COLUMN = "case"
_NOTHING = ("", "nan")


def check_table(column: str, table: Path | None) -> None:
    """Raises ConfigError, as `strata` does, if there is no table and the column is not `VOLUME`, or it will not do."""
    if table is not None:
        _column(table, column)
    elif column != VOLUME:
        raise ConfigError(f"--by {column} needs --table FILE with such a column; only '{VOLUME}' needs none")


def strata(evaluation: Evaluation, column: str, table: Path | None) -> dict[str, str]:
    """Case -> group, for every case scored; one that the table does not have, or has nothing for, is in such a group.

    `table` is a CSV file with a line of names; cases stand in its column `case`, else in its first. A column of more
    than six numbers is cut into thirds of the cases. An empty field, or `nan`, is nothing.
    Raises ConfigError if there is no table and the column is not `VOLUME`, if the file cannot be read, has no such
    column, or tells two things of one case.
    """
    check_table(column, table)
    names = [case.name for case in evaluation.cases]
    if table is None:
        return terciles({case.name: round(case.tumor_ml, 1) for case in evaluation.cases}, " ml") if names else {}
    known = _column(table, column)
    found = {name: known[name] for name in names if name in known and known[name].lower() not in _NOTHING}
    numbers = {name: number for name, text in found.items() if (number := _number(text)) is not None}
    if len(numbers) == len(found) and len(set(numbers.values())) > _MOST_GROUPS:
        found = terciles(numbers)
    without = f"no {column} in {table.name}"
    return {name: found.get(name, without if name in known else f"not in {table.name}") for name in names}


def _column(table: Path, column: str) -> dict[str, str]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a mark first
            reader = csv.DictReader(file)
            lines, names = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{table}: cannot be read as CSV in UTF-8 ({error})") from error
    if column not in names:
        near = difflib.get_close_matches(column, names, n=1, cutoff=0.5) or names[:5]
        raise ConfigError(f"{table}: has no column '{column}': did you mean {' or '.join(near) or 'another file'}?")
    key = _CASE_COLUMN if _CASE_COLUMN in names else names[0]
    found: dict[str, str] = {}
    for line in lines:
        case, value = (line[key] or "").strip(), (line[column] or "").strip()
        if found.setdefault(case, value) != value:
            raise ConfigError(f"{table}: case {case} has '{found[case]}' and '{value}' as {column}: keep one")
    return found


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
