"""The page that lists the pages of cases, the worst first, with a picture each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from ssa_fast.evaluate.page import CasePage
from ssa_fast.evaluate.page_template import base64_text, filled_template, head_html, made_by
from ssa_fast.files import write_whole

__all__ = ["write_cohort_page"]


def write_cohort_page(pages: Sequence[CasePage], failures: Mapping[str, str], out: Path) -> Path:
    """Write the list of case pages, worst first, with a picture each; `failures` are case -> why it has no page.

    Pages must lie in the folder of `out`: links are by file name.
    """
    items = "\n".join(_item_html(page) for page in sorted(pages, key=lambda page: page.rank))
    lost = "".join(f"<li>{escape(reason)}</li>" for reason in failures.values())
    failed = f'<div class="trouble">Without a page: {len(failures)}<ul>{lost}</ul></div>' if failures else ""
    order = (
        "Worst first, by the mean Dice of WT, TC and ET; then cases without a reference, by the least agreement "
        "of votes (of a single vote: the least expected Dice)."
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
    elif page.least_expected is not None:
        words = f"no reference; least agreement or expected Dice {page.least_expected:.3f}"
    else:
        words = "no reference"
    first = f"<br>look first at {escape(', '.join(page.look_first))}" if page.look_first else ""
    link, picture = quote(page.path.name), base64_text(page.thumbnail)
    image = f'<img alt="slice with most tumour, under the prediction" src="data:image/png;base64,{picture}">'
    return f'<li><a href="{link}">{image}{escape(page.name)}</a><p>{words}{first}</p></li>'
