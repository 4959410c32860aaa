"""The figures of README.md, made from the records: `benchmarks/figures.md` with each number put in from where it is.

    python -m benchmarks.readme            # writes the block between the markers
    python -m benchmarks.readme --check    # exit code 1 where README.md has another

In the template `{{record|way/to/value|format}}` is one number: the format is Python's, or `%` with digits as a share of
100. `way` may end in `#min` or `#max` over what a list or table holds. Tables are named: `{{table:forms}}`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.readme_tables import TABLES, cached_record
from benchmarks.records import NEWEST, find
from ssa_fast.errors import ConfigError

__all__ = ["BEGIN", "END", "TEMPLATE", "block_of", "filled", "main", "with_block"]

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_ROOT = Path(__file__).resolve().parents[1]
README, TEMPLATE = _ROOT / "README.md", Path(__file__).with_name("figures.md")
_PLACE = re.compile(r"\{\{([^{}]+)\}\}")


def block_of(readme: str) -> str:
    """What stands between the markers. Raises ConfigError where they do not stand there once, in order."""
    start, end = readme.find(BEGIN), readme.find(END)
    if start < 0 or end < start or readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ConfigError(f"README.md: wanted '{BEGIN}' and then '{END}', once each")
    return readme[start + len(BEGIN) : end]


def with_block(readme: str, block: str) -> str:
    """The same README with another block."""
    block_of(readme)
    head, _, rest = readme.partition(BEGIN)
    return head + BEGIN + block + END + rest.partition(END)[2]


def filled(template: str, records: Path) -> str:
    """The template with its places filled from records.

    Raises ConfigError where a record, a number or a table is not there.
    """

    def put(place: re.Match[str]) -> str:
        words = place[1].split("|")
        if words[0].startswith("table:"):
            name = words[0].removeprefix("table:")
            if name not in TABLES:
                raise ConfigError(f"figures.md: no table '{name}'; there are {', '.join(TABLES)}")
            return "\n".join(TABLES[name](records))
        if len(words) != 3:
            raise ConfigError(f"figures.md: '{place[0]}': wanted record|way|format")
        record, way, form = words
        return _written(_value(cached_record(records, record), way, record), form)

    return _PLACE.sub(put, template)


def _value(record: Mapping[str, Any], way: str, name: str) -> float:
    path, _, over = way.partition("#")
    keys = tuple(path.split("/"))
    if not over:
        return find(record, keys, name)
    held: Any = record
    for key in keys:
        held = held[int(key)] if isinstance(held, list) else held[key]
    values = held.values() if isinstance(held, Mapping) else held
    return {"min": min, "max": max}[over](value for value in values if isinstance(value, (int, float)))


def _written(value: float, form: str) -> str:
    return f"{100 * value:{form[1:] or '.0f'}} %" if form.startswith("%") else f"{value:{form}}"


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--readme", type=Path, default=README)
    given = parser.parse_args(arguments)
    readme = given.readme.read_text(encoding="utf-8")
    try:
        wanted = with_block(readme, "\n" + filled(TEMPLATE.read_text(encoding="utf-8"), NEWEST).strip() + "\n")
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if given.check:
        if wanted != readme:
            print("README.md: its figures are not those of the records: python -m benchmarks.readme", file=sys.stderr)
        return int(wanted != readme)
    given.readme.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
