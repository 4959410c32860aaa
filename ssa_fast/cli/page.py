"""`ssa-fast page`: a page a case to look at its segmentation, and a list of them."""

from __future__ import annotations

from pathlib import Path

import click

from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.errors import CaseError, CohortError
from ssa_fast.evaluate.cohort_page import LIST, write_pages
from ssa_fast.evaluate.outside import read_ranges
from ssa_fast.evaluate.page import CasePage
from ssa_fast.evaluate.report import first_of
from ssa_fast.volume.case import find_cases

__all__ = ["command"]


@click.command(short_help="Write pages to look at segmentations in a browser.")
@click.argument("predictions", type=FOLDER)
@click.argument("cases", nargs=-1, required=True, type=PATH)
@click.option("--out", type=FOLDER, default=Path("pages"), show_default=True, help="Folder for the pages.")
@click.option("--training", type=PATH, metavar="JSON", help="As of 'report': what 'describe' wrote of training cases.")
def command(predictions: Path, cases: tuple[Path, ...], out: Path, training: Path | None) -> None:
    """Write OUT/CASE.html for each of CASES with its label map in PREDICTIONS, and OUT/index.html, worst first.

    A page holds all that it shows and opens in any browser with WebGL 2, without a network: four modalities, over them
    prediction, reference, their difference and the maps of `infer --uncertainty`, surfaces, volumes, scores, and where
    the labels come from. It holds the images: treat it like them. A case that has no page is named and passed by; the
    exit code is then 2.
    """
    ranges = None if training is None else read_ranges(training)

    def tell(done: CasePage | CaseError) -> None:
        if isinstance(done, CasePage):
            click.echo(f"wrote {done.path} ({done.path.stat().st_size / 1e6:.1f} MB)")
        else:
            click.echo(str(done), err=True)

    found = find_cases(cases)
    failures = write_pages(predictions, found, out, ranges, tell)
    click.echo(f"wrote {out / LIST}")
    if failures:
        names = first_of(list(failures))
        raise CohortError(f"{len(failures)} of {len(found)} cases have no page: {names} (each has its line above)")
