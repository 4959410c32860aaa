from __future__ import annotations

from html.parser import HTMLParser

from ssa_fast.evaluate.document import Section, to_html, to_markdown

SECTION = Section(
    title="A <b> & | title",
    warning="Take care",
    lines=["One line.", "Another *line*."],
    table=[["case", "Dice"], ["a|b", "0.5"]],
    pictures=[("what is seen", "figures/a.png")],
    links=[("case", "pages/a.html")],
)


def test_markdown_reads_as_typed_here() -> None:
    expected = r"""# Report

## A \<b\> & \| title

**Take care**

One line.

Another \*line\*.

| case | Dice |
| --- | ---: |
| a\|b | 0.5 |

![what is seen](<figures/a.png>)

- [case](<pages/a.html>)
"""
    assert to_markdown("Report", [SECTION]) == expected


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_html_holds_the_same_words_closes_every_tag_and_needs_no_other_host() -> None:
    page = _Page()
    page.feed(to_html("Report", [SECTION]))
    assert page.open == []
    for words in ("A <b> & | title", "Take care", "Another *line*.", "a|b", "0.5"):
        assert words in page.text
    assert page.sources == ["figures/a.png", "figures/a.png", "pages/a.html"]
