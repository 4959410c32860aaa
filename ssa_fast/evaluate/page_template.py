"""What the pages of cases and their list are filled into: files of `viewer/`, and the head that they share."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from types import MappingProxyType
from typing import Literal

import ssa_fast
from ssa_fast.evaluate.page_facts import NOTICE

__all__ = ["base64_text", "filled_template", "head_html", "made_by", "viewer_text"]

_MARK = re.compile(r"@@([a-z]+)@@")
_MAY: Mapping[str, str] = MappingProxyType(
    {
        "case": "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; connect-src data: blob:",
        "cohort": "style-src 'unsafe-inline'; img-src data:",
    }
)
"""What a browser is told that a page may do beside nothing at all."""


def head_html(title: str, kind: Literal["case", "cohort"]) -> str:
    """Everything down to the notice below the title; neither kind of page may ask a network for anything."""
    parts = {"title": escape(title), "may": _MAY[kind], "style": viewer_text("style.css"), "notice": escape(NOTICE)}
    return filled_template("head.html", parts)


def filled_template(template: str, parts: Mapping[str, str]) -> str:
    """A template with its marks replaced in one pass: what is put in is not looked through again."""
    return _MARK.sub(lambda mark: parts[mark[1]], viewer_text(template))


def viewer_text(name: str) -> str:
    """A file of `viewer/`."""
    return (resources.files("ssa_fast.evaluate") / "viewer" / name).read_text(encoding="utf-8")


def made_by() -> str:
    """The version that wrote the page."""
    return f"Made by ssa-fast {ssa_fast.__version__}."


def base64_text(content: bytes) -> str:
    """Bytes as a page holds them."""
    return base64.b64encode(content).decode("ascii")
