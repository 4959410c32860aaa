"""Make the tables of the pages in docs/ again, from the records: `python -m benchmarks.documents`.

A table stands between `<!-- made: NAME -->` and `<!-- made: end -->`; all else in a page is written by hand.
"""

from __future__ import annotations

from benchmarks.documents.fill import filled, pages
from benchmarks.documents.records import read_records

records = read_records()
for page in pages():
    text = page.read_text(encoding="utf-8")
    made = filled(text, records)
    if made != text:
        page.write_text(made, encoding="utf-8")
        print(f"made {page.name} again")
