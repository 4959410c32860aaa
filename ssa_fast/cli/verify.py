"""`ssa-fast verify`: prepared volumes and patches, looked through."""

from __future__ import annotations

from pathlib import Path

import click

import ssa_fast
from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.errors import CohortError
from ssa_fast.files import write_json
from ssa_fast.prepare.problems import Problem, problem_table, problems_to_json
from ssa_fast.prepare.verify import verify_folder

__all__ = ["command"]


@click.command(short_help="Check a prepared folder or a folder of patches.")
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write the problems to FILE as well.")
def command(folder: Path, json_path: Path | None) -> None:
    """Check every volume and patch in DIR, which 'ssa-fast prepare' wrote, or which holds CASE_patch_N.npz.

    Fingerprints, shapes, types, values, labels, duplicates, and that every patch holds brain. All problems are said
    in one table, with exit code 2. Nothing is changed: 'ssa-fast prepare' mends what is damaged.
    """
    names: list[str] = []
    problems: list[Problem] = []
    volumes = patches = 0
    for verified in verify_folder(folder):
        names.append(verified.name)
        problems += verified.problems
        volumes += verified.volumes
        patches += verified.patches
        state = "see the table below" if verified.problems else "good"
        click.echo(f"{verified.name}  {state}")
    click.echo(f"{volumes} volumes and {patches} patches; problems: {len(problems)}")
    if json_path is not None:
        write_json(json_path, problems_to_json(problems, names, ssa_fast.__version__))
    if problems:
        click.echo(f"\n{problem_table(problems)}\n")
        bad = sorted({problem.case for problem in problems})
        raise CohortError(f"{folder}: {len(bad)} cases have problems: {', '.join(bad)} (see the table above)")
