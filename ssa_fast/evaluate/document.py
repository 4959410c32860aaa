"""A report as sections, written as Markdown and as one HTML page: the same words, tables and pictures in both."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Section", "to_html", "to_markdown"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; margin-top: 2.2rem }
.warning { border: 2px solid #222; padding: .6rem 1rem; font-weight: 600 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ccc; text-align: right; white-space: nowrap }
th { white-space: normal; vertical-align: bottom }
th:first-child, td:first-child { text-align: left }
td:last-child.words { text-align: left; white-space: normal }
img { max-width: 100%; height: auto; border: 1px solid #ddd }
@media print { body { max-width: none; margin: 0 } h2 { break-after: avoid } img, tr { break-inside: avoid } }
"""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with what stands below it, in this order; whatever is empty is left out."""

    title: str
    warning: str = ""
    lines: Sequence[str] = ()  # a paragraph each
    table: Sequence[Sequence[str]] = ()  # the first row is the heading
    pictures: Sequence[tuple[str, str]] = ()  # what it shows, and its file beside the report
    links: Sequence[tuple[str, str]] = ()  # words and address


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Markdown with tables, as GitHub and most others show it."""
    parts = [f"# {_escaped(title)}"]
    for section in sections:
        parts.append(f"## {_escaped(section.title)}")
        if section.warning:
            parts.append(f"**{_escaped(section.warning)}**")
        parts += [_escaped(line) for line in section.lines]
        if section.table:
            head, *rows = [[_escaped(cell) for cell in row] for row in section.table]
            rule = ["---", *["---:"] * (len(head) - 1)]
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows)))
        parts += [f"![{_escaped(shown)}](<{path}>)" for shown, path in section.pictures]
        if section.links:
            parts.append("\n".join(f"- [{_escaped(words)}](<{path}>)" for words, path in section.links))
    return "\n\n".join(parts) + "\n"


def to_html(title: str, sections: Sequence[Section]) -> str:
    """One page that needs nothing from elsewhere but its pictures beside it; it can be printed."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.warning:
            parts.append(f'<p class="warning">{html.escape(section.warning)}</p>')
        parts += [f"<p>{html.escape(line)}</p>" for line in section.lines]
        if section.table:
            parts.append(_html_table(section.table))
        for shown, path in section.pictures:
            at, words = html.escape(path, quote=True), html.escape(shown, quote=True)
            parts.append(f'<p><a href="{at}"><img src="{at}" alt="{words}"></a></p>')
        if section.links:
            items = [
                f'<li><a href="{html.escape(path, quote=True)}">{html.escape(words)}</a></li>'
                for words, path in section.links
            ]
            parts.append(f"<ul>{''.join(items)}</ul>")
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html_table(table: Sequence[Sequence[str]]) -> str:
    head, *rows = table
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    for row in rows:
        cells = []
        for place, cell in enumerate(row):
            is_words = place == len(row) - 1 and len(cell) > 24
            kind = ' class="words"' if is_words else ""
            cells.append(f"<td{kind}>{html.escape(cell)}</td>")
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _escaped(text: str) -> str:
    """What Markdown would read as a mark of its own stays what it is."""
    for mark in "\\`*_|<>[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
