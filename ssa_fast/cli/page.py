"""`ssa-fast page`: a page a case to look at its segmentation, and a list of them."""

from __future__ import annotations

from pathlib import Path

import click

from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.errors import CaseError, CohortError
from ssa_fast.evaluate.cohort_page import write_cohort_page
from ssa_fast.evaluate.page import CasePage, write_case_page
from ssa_fast.evaluate.scores import find_predictions, prediction_of
from ssa_fast.volume.case import find_cases

__all__ = ["command"]

_LIST = "index.html"


@click.command(short_help="Write pages to look at segmentations in a browser.")
@click.argument("predictions", type=FOLDER)
@click.argument("cases", nargs=-1, required=True, type=PATH)
@click.option("--out", type=FOLDER, default=Path("pages"), show_default=True, help="Folder for the pages.")
def command(predictions: Path, cases: tuple[Path, ...], out: Path) -> None:
    """Write OUT/CASE.html for each of CASES with its label map in PREDICTIONS, and OUT/index.html, worst first.

    A page holds all that it shows and opens in any browser with WebGL 2, without a network: four modalities, over them
    prediction, reference, their difference and the maps of `infer --uncertainty`, surfaces, volumes, scores, and where
    the labels come from. It holds the images: treat it like them. A case that has no page is named and passed by; the
    exit code is then 2.
    """
    found = find_predictions(predictions)
    pages: list[CasePage] = []
    failures: dict[str, str] = {}
    for files in find_cases(cases):
        try:
            prediction = prediction_of(files.name, found, predictions)
            page = write_case_page(files, prediction, out / f"{files.name}.html")
        except CaseError as error:
            click.echo(str(error), err=True)
            failures[files.name] = str(error)
        else:
            click.echo(f"wrote {page.path} ({page.path.stat().st_size / 1e6:.1f} MB)")
            pages.append(page)
    click.echo(f"wrote {write_cohort_page(pages, failures, out / _LIST)}")
    if failures:
        total = len(pages) + len(failures)
        names = ", ".join(failures)
        raise CohortError(f"{len(failures)} of {total} cases have no page: {names} (each has its line above)")
