"""`ssa-fast describe`: what a data set is made of, and what looks wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

import ssa_fast
from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.errors import BackendUnavailable, CohortError
from ssa_fast.evaluate.outside import RANGES_FILE, read_ranges
from ssa_fast.files import write_json
from ssa_fast.prepare.describe import (
    CaseFacts,
    DataSet,
    describe_case,
    description_to_json,
    description_to_text,
)
from ssa_fast.prepare.problems import Problem, problem_table
from ssa_fast.prepare.suspects import Likeness
from ssa_fast.volume.case import find_cases

__all__ = ["command"]

JSON_FILE, FIGURE_FILE = "description.json", "description.png"


@click.command(short_help="Analyse a data set: numbers, one figure, suspicions.")
@click.argument("cases", nargs=-1, required=True, type=PATH)
@click.option("--out", type=FOLDER, required=True, help=f"Where {JSON_FILE} and {FIGURE_FILE} go.")
@click.option("--figure/--no-figure", default=True, show_default=True, help="The figure needs the extra 'report'.")
@click.option(
    "--ranges", is_flag=True, help=f"Also write {RANGES_FILE}, for 'report --training': least and most, no names."
)
def command(cases: tuple[Path, ...], out: Path, figure: bool, ranges: bool) -> None:
    """Describe CASES: shapes, spacing, intensities, volumes of the tumour and its labels, class balance.

    Also named are cases that may be one patient's (they belong into one fold) and cases whose modalities look
    swapped: suspicions to look into, no verdicts. A seg is not needed, nor voxels of 1 mm. Cases that cannot be read
    stand in a table of problems, with exit code 2; the others are described.
    """
    draw = _drawing() if figure else None  # before minutes of reading
    found = find_cases(cases)
    facts: list[CaseFacts] = []
    brains: dict[str, Likeness] = {}
    problems: list[Problem] = []
    for number, files in enumerate(found, start=1):
        described = describe_case(files)
        if isinstance(described, list):
            problems += described
        else:
            facts.append(described[0])
            brains[files.name] = described[1]
        click.echo(f"read {number} of {len(found)}: {files.name}", err=True)
    data = DataSet.of(facts, brains, problems)
    click.echo(description_to_text(data))
    write_json(out / JSON_FILE, description_to_json(data, ssa_fast.__version__))
    click.echo(f"wrote {out / JSON_FILE}")
    if ranges and facts:
        write_json(out / RANGES_FILE, read_ranges(out / JSON_FILE).to_json(ssa_fast.__version__))
        click.echo(f"wrote {out / RANGES_FILE}")
    if draw is not None and facts:
        click.echo(f"drew {draw(data, out / FIGURE_FILE)}")
    if problems:
        click.echo(f"\n{problem_table(problems)}\n")
        bad = sorted({problem.case for problem in problems})
        raise CohortError(
            f"{len(bad)} of {len(found)} cases could not be described: {', '.join(bad)} (see the table above)"
        )


def _drawing() -> Callable[[DataSet, Path], Path]:
    try:
        from ssa_fast.prepare.describe_figure import draw_description
    except ImportError as error:
        raise BackendUnavailable(
            f"the figure needs 'matplotlib': pip install 'ssa-fast[report]', or --no-figure ({error})"
        ) from error
    return draw_description
