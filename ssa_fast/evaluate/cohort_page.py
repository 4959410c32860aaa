"""The page that lists the pages of cases, the worst first, with a picture each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.outside import TrainingRanges
from ssa_fast.evaluate.page import CasePage, write_case_page
from ssa_fast.evaluate.page_template import base64_text, filled_template, head_html, made_by
from ssa_fast.evaluate.scores import find_predictions, prediction_of
from ssa_fast.files import write_whole
from ssa_fast.volume.case import CaseFiles

__all__ = ["LIST", "write_cohort_page", "write_pages"]

LIST = "index.html"
"""The file that lists the pages."""


def write_pages(
    predictions: Path,
    cases: Sequence[CaseFiles],
    out: Path,
    training: TrainingRanges | None = None,
    tell: Callable[[CasePage | CaseError], None] = lambda _: None,
) -> dict[str, str]:
    """Write `out/CASE.html` for each case and `out/index.html`; case -> why it has no page, for those without.

    `tell` is called with each page that was written, and with each failure.
    Raises CaseError if there are no predictions in the folder `predictions`.
    """
    found = find_predictions(predictions)
    pages: list[CasePage] = []
    failures: dict[str, str] = {}
    for files in cases:
        try:
            prediction = prediction_of(files.name, found, predictions)
            page = write_case_page(files, prediction, out / f"{files.name}.html", training)
        except CaseError as error:
            failures[files.name] = str(error)
            tell(error)
        else:
            pages.append(page)
            tell(page)
    write_cohort_page(pages, failures, out / LIST)
    return failures


def write_cohort_page(pages: Sequence[CasePage], failures: Mapping[str, str], out: Path) -> Path:
    """Write the list of case pages, worst first, with a picture each; `failures` are case -> why it has no page.

    Pages must lie in the folder of `out`: links are by file name.
    """
    items = "\n".join(_item_html(page) for page in sorted(pages, key=lambda page: page.rank))
    lost = "".join(f"<li>{escape(reason)}</li>" for reason in failures.values())
    failed = f'<div class="trouble">Without a page: {len(failures)}<ul>{lost}</ul></div>' if failures else ""
    order = (
        "Worst first, by the mean Dice of WT, TC and ET; then cases without a reference, those in which no tumour "
        "was found before the others, by the least agreement of votes (of a single vote: the least expected Dice)."
    )
    parts = {
        "head": head_html(f"{len(pages)} case{'s' * (len(pages) != 1)}", "cohort"),
        "facts": f'<p class="quiet">{order}</p>{failed}<ol class="cases">{items}</ol>',
        "footer": made_by(),
    }
    write_whole(out, filled_template("cohort.html", parts).encode())
    return out


def _item_html(page: CasePage) -> str:
    if page.scores is not None:
        words = "Dice " + ", ".join(
            f"{region} {page.scores.value('dice', region):.3f}" for region in ("WT", "TC", "ET")
        )
    elif page.is_empty:
        words = "no reference; no tumour was found"
    elif page.least_expected is not None:
        words = f"no reference; least agreement or expected Dice {page.least_expected:.3f}"
    else:
        words = "no reference"
    first = f"<br>look first at {escape(', '.join(page.look_first))}" if page.look_first else ""
    link, picture = quote(page.path.name), base64_text(page.thumbnail)
    image = f'<img alt="slice with most tumour, under the prediction" src="data:image/png;base64,{picture}">'
    if page.unlike:
        first += f"<br>unlike the training cases: {escape('; '.join(page.unlike))}"
    return f'<li><a href="{link}">{image}{escape(page.name)}</a><p>{words}{first}</p></li>'
