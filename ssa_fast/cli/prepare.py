"""`ssa-fast prepare`: cases checked, cropped and normalized once, for training."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import click

import ssa_fast
from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.errors import CohortError, ConfigError
from ssa_fast.files import write_json
from ssa_fast.prepare.cases import PROBLEMS_FILE, Outcome, prepare_cases
from ssa_fast.prepare.prepared import PATCHES_FOLDER, PatchSettings, read_manifest
from ssa_fast.prepare.problems import Problem, problem_table, problems_to_json
from ssa_fast.volume.case import find_cases

__all__ = ["command"]


@click.command(short_help="Check cases; crop and normalize them for training.")
@click.argument("cases", nargs=-1, required=True, type=PATH)
@click.option(
    "--out", type=FOLDER, required=True, help="The prepared folder; what is there is kept where it is current."
)
@click.option("--patches", is_flag=True, help="Also write OUT/patches/CASE_patch_N.npz: 4 x 128^3 with its label.")
@click.option(
    "--patches-per-case", type=int, default=PatchSettings.count, show_default=True, help="At most; needs --patches."
)
@click.option(
    "--seed", type=int, default=PatchSettings.seed, show_default=True, help="Of where patches lie; needs --patches."
)
@click.option(
    "--json", "json_path", type=PATH, metavar="FILE", help="Write the problems to FILE, not to OUT/problems.json."
)
def command(
    cases: tuple[Path, ...], out: Path, patches: bool, patches_per_case: int, seed: int, json_path: Path | None
) -> None:
    """Check CASES, each with its seg, and write them into OUT as 'ssa-fast train' can map them from the disk.

    OUT/CASE/volume.npy is the brain's box in RAS, z-scored, float16; OUT/CASE/labels.npy its labels, 4 of older
    releases as 3. OUT/manifest.json has what each was made from and how. All that is wrong with any case is said in
    one table, with exit code 2; the other cases are done. Run it again, also after a stop at any moment: only what
    changed, is missing or damaged is made anew. A case takes 9 bytes a voxel of its brain's box, its patches several
    times that.
    """
    if not patches and (patches_per_case != PatchSettings.count or seed != PatchSettings.seed):
        raise ConfigError("--patches-per-case and --seed are about patches: give --patches too")
    found = find_cases(cases)
    settings = PatchSettings(count=patches_per_case, seed=seed) if patches else None
    counts: Counter[str] = Counter()
    problems: list[Problem] = []
    for outcome in prepare_cases(found, out, ssa_fast.__version__, settings):
        counts[outcome.action] += 1
        problems += outcome.problems
        click.echo(_line(outcome))
    entries = read_manifest(out).cases
    said = [f"{counts[action]} {action}" for action in ("prepared", "kept", "refused") if counts[action]]
    click.echo(f"{len(found)} cases: {', '.join(said)}; {out} holds {len(entries)}")
    others = sorted(set(entries) - {files.name for files in found})
    if others:
        click.echo(f"not given this time, and still there: {', '.join(others)} (remove a folder to leave its case out)")
    if any(entry.patches for entry in entries.values()):
        click.echo(f"patches: {out / PATCHES_FOLDER}")
    if counts["prepared"] and not problems:
        click.echo(f"next: ssa-fast train {out} --out runs/NAME")
    _report(problems, [files.name for files in found], out / PROBLEMS_FILE, json_path)


def _line(outcome: Outcome) -> str:
    if outcome.action == "refused":
        return f"{outcome.name}  refused: see the table below"
    why = f" ({outcome.why})" if outcome.why else ""
    return f"{outcome.name}  {outcome.action}{why}  {outcome.seconds:.1f} s"


def _report(problems: list[Problem], names: list[str], own: Path, asked: Path | None) -> None:
    """Print the problems and write them as JSON. Raises CohortError if there are any."""
    if asked is not None:
        write_json(asked, problems_to_json(problems, names, ssa_fast.__version__))
    if not problems:
        with suppress(FileNotFoundError):
            own.unlink()  # of an earlier run: they are mended
        return
    path = asked or own
    if asked is None:
        write_json(own, problems_to_json(problems, names, ssa_fast.__version__))
    click.echo(f"\n{problem_table(problems)}\n")
    bad = sorted({problem.case for problem in problems})
    raise CohortError(
        f"{len(bad)} of {len(names)} cases cannot be used: {', '.join(bad)} (see the table above, or {path})"
    )
