from __future__ import annotations

from ssa_fast.evaluate.page_template import filled_template, head_html


def test_what_is_put_in_is_not_looked_through_again() -> None:
    parts = {"head": "", "facts": "@@footer@@", "footer": "below"}
    assert "<section>@@footer@@</section>" in filled_template("cohort.html", parts)


def test_the_head_says_the_title_and_that_it_is_for_research_and_a_list_runs_no_script() -> None:
    head = head_html("A & B", "cohort")
    assert head.count("A &amp; B") == 2
    assert "For research only" in head
    assert "default-src 'none'; style-src" in head
    assert "script-src 'unsafe-inline'" in head_html("A", "case")
