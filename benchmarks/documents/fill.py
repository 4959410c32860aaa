"""Pages whose tables are made from records, filled."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from benchmarks.documents import accuracy, methods, origin, speed, votes
from benchmarks.documents.records import ROOT, Records

__all__ = ["TABLES", "filled", "pages"]

TABLES: Mapping[str, Callable[[Records], str]] = MappingProxyType(
    {
        "bundle": origin.bundle,
        "bundle, lite": partial(origin.bundle, name="lite"),
        "by case": accuracy.by_case,
        "by case, fast": partial(accuracy.by_case, record="quality-fast"),
        "by lesion": accuracy.by_lesion,
        "by lesion, fast": partial(accuracy.by_lesion, record="quality-fast"),
        "checks": accuracy.checks,
        "cohorts": speed.cohorts,
        "cold": speed.cold,
        "cross validated": accuracy.cross_validated,
        "folds": methods.folds,
        "doubt": votes.doubt,
        "doubt, fast": partial(votes.doubt, record="looks-fast"),
        "forms": accuracy.forms,
        "forms, fast": partial(accuracy.forms, name="parity-fast"),
        "layers": speed.layers,
        "made data": accuracy.made_data,
        "memory": speed.memory,
        "mended": votes.mended,
        "mirrored": votes.mirrored,
        "mirrored, fast": partial(votes.mirrored, record="looks-fast"),
        "networks together": votes.together,
        "norm statistics": accuracy.norm_statistics,
        "norms": accuracy.norms,
        "original": accuracy.original,
        "peaks": speed.peaks,
        "peers": speed.peers,
        "profiles": methods.profiles,
        "ratios": speed.ratios,
        "rewrites": speed.rewrites,
        "search": accuracy.search,
        "search cohort": speed.search_cohort,
        "search groups": accuracy.search_groups,
        "search long": accuracy.search_long,
        "search variants": accuracy.search_variants,
        "seconds": speed.seconds,
        "sources": origin.sources,
        "statistics": accuracy.statistics,
        "training": speed.training,
        "unseen": accuracy.unseen,
        "whole cases": speed.whole_cases,
        "windows": accuracy.windows,
    }
)
"""Name of a place in a page -> what makes its table."""

_PLACE = re.compile(r"<!-- made: (?P<name>.+?) -->\n.*?<!-- made: end -->", re.DOTALL)


def pages() -> list[Path]:
    """The pages in docs/ that have places."""
    return [page for page in sorted((ROOT / "docs").glob("*.md")) if _PLACE.search(page.read_text(encoding="utf-8"))]


def filled(text: str, records: Records) -> str:
    """A page with every table made anew. Raises KeyError for a place of no known name, or what a record lacks."""

    def made(place: re.Match[str]) -> str:
        name = place["name"]
        return f"<!-- made: {name} -->\n\n{TABLES[name](records)}\n\n<!-- made: end -->"

    return _PLACE.sub(made, text)
