"""The project's pages as tests read them: their text, code, commands and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = tuple(
    sorted(
        [
            *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
            *(ROOT / room / "README.md" for room in ("benchmarks", "data", "engines", "export")),
            *(ROOT / "docs").glob("*.md"),
            *(ROOT / "ssa_fast/pretrained").glob("*.md"),
        ]
    )
)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def examples(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `ssa-fast` command that stands in a line of code of its own, without the program's name.

    A line that ends in a backslash goes on; what comes after `#`, `;`, `>` or `|` is not the command's.
    """
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^ {4,}(?:torchrun \S+ -m ssa_fast|ssa-fast) (.*)$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        ends = [index for index, word in enumerate(words) if word in {">", "|", ";", "&&"}]
        yield words[: ends[0]] if ends else words


def links(page: Path) -> list[str]:
    """Where its links lead, but for those to the network."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


def anchors(page: Path) -> set[str]:
    """Names of its headings, as the usual renderers make them: small letters, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named_files(page: Path) -> set[str]:
    """What its words call a file or folder of the repository: `room/...` in backticks, without placeholders."""
    rooms = "benchmarks|data/splits|docs|ssa_fast|tests"
    found = re.findall(rf"`((?:{rooms})/[\w./-]+)`", page.read_text(encoding="utf-8"))
    return {name for name in found if "..." not in name}


def written_lines(page: Path) -> list[str]:
    """Its lines but for the figures of README, which are made from records."""
    text = page.read_text(encoding="utf-8")
    figures = text.partition("<!-- figures: begin -->")[2].partition("<!-- figures: end -->")[0]
    return text.replace(figures, "").splitlines()
