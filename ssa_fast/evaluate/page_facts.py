"""The words and numbers of a case's page: scores, volumes, how far to trust them, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ssa_fast.config import from_mapping
from ssa_fast.errors import ConfigError
from ssa_fast.evaluate.outside import TrainingRanges
from ssa_fast.evaluate.scores import CaseScores, voxel_ml
from ssa_fast.files import sha256
from ssa_fast.infer.plan import Plan
from ssa_fast.infer.record import map_path, record_path
from ssa_fast.labels import REGIONS
from ssa_fast.metrics.overlap import TARGETS
from ssa_fast.metrics.profiles import MEASURES, OVERLAP
from ssa_fast.volume.nifti import Volume

__all__ = ["NOTICE", "Provenance", "facts_html", "read_provenance", "unlike_html"]

NOTICE = (
    "For research only: no medical device, not for diagnosis, treatment or any decision about a patient. "
    "A network made this segmentation, and it can be wrong anywhere."
)
_MAPS = ("entropy", "disagreement")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the record beside a label map vouches for; nothing where there is none, or it is of another label map."""

    record: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""  # why there is no record to go by
    maps: Mapping[str, Path] = field(default_factory=dict)  # kind -> file: those that are as they were written

    def table(self, key: str) -> Mapping[str, Any]:
        """What the record has at a key, by name; empty where it has nothing, or no table."""
        return _table(self.record.get(key))

    def words(self, key: str) -> tuple[str, ...]:
        """What the record lists at a key; empty where it has nothing, or no list."""
        found = self.record.get(key)
        return tuple(map(str, found)) if isinstance(found, list) else ()


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def read_provenance(prediction: Path, name: str) -> Provenance:
    """The record `CASE.json` beside a label map, if it is of these bytes, and the maps of doubt that belong to it."""
    path = record_path(prediction.parent, name)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        is_its_own = isinstance(record, dict) and record.get("output_sha256") == sha256(prediction.read_bytes())
    except FileNotFoundError:
        return Provenance(trouble=f"unknown: there is no record {path.name} beside the label map")
    except (OSError, ValueError):
        return Provenance(trouble=f"unknown: the record {path.name} cannot be read")
    if not is_its_own:
        return Provenance(trouble=f"unknown: the record {path.name} is of another label map than this one")
    kept = _table(record.get("maps_sha256"))
    paths = {kind: map_path(prediction.parent, name, kind) for kind in _MAPS if kind in kept}
    whole = {kind: it for kind, it in paths.items() if it.is_file() and sha256(it.read_bytes()) == kept[kind]}
    return Provenance(record=record, maps=whole)


def facts_html(scores: CaseScores | None, prediction: Volume, provenance: Provenance, unlike: str = "") -> str:
    """Tables of scores, volumes, doubt and provenance as HTML; without a reference there are no scores.

    `unlike` is HTML of `unlike_html`.
    """
    parts = [_scores_html(scores, prediction), _doubt_html(provenance), unlike, "<h2>Provenance</h2>"]
    rows = {"record": provenance.trouble} if provenance.trouble else _provenance_rows(provenance)
    rows["label map"] = f"{prediction.path.name}, SHA-256 {sha256(prediction.path.read_bytes())}"
    return "\n".join([*parts, _list_html(rows)])


def unlike_html(found: Sequence[str] | None, ranges: TrainingRanges | None) -> str:
    """What of a case is outside the training cases, as HTML; that it is not known, where their ranges are not."""
    title = "<h2>Unlike the training cases?</h2>"
    if found is None or ranges is None:
        return f"{title}<p>Not known: the training cases of this network are not (option --training).</p>"
    said = f"<p>{escape('; '.join(found) or 'nothing found')}</p>"
    return f'{title}{said}<p class="quiet">{escape(ranges.rule)}</p>'


def _scores_html(scores: CaseScores | None, prediction: Volume) -> str:
    if scores is None:
        labels, ml = np.asarray(prediction.array), voxel_ml(prediction)
        volumes = {name: np.count_nonzero(np.isin(labels, values)) * ml for name, values in TARGETS.items()}
        rows = [[name, f"{volume:.1f}"] for name, volume in volumes.items()]
        note = "<p>No reference, so there are no scores.</p>"
        return f"<h2>Volumes</h2>{note}{_table_html('Over the whole volume', ['', 'predicted, ml'], rows)}"
    head = ["", *(MEASURES[measure].heading for measure in OVERLAP.measures)]
    rows = []
    for target in OVERLAP.targets:
        cells = [f"{scores.value(name, target):.{MEASURES[name].decimals}f}" for name in OVERLAP.measures]
        rows.append([target, *cells])
    return f"<h2>Scores and volumes</h2>{_table_html(OVERLAP.rule, head, rows)}"


def _doubt_html(provenance: Provenance) -> str:
    doubt = provenance.table("doubt")
    if not doubt:
        return ""
    expected, agreement = _table(doubt.get("expected_dice")), _table(doubt.get("agreement"))
    head, rows = ["", "expected Dice", "votes agree"], []
    for region in REGIONS:
        values = (expected.get(region), agreement.get(region))
        rows.append([region, *("-" if value is None else f"{value:.3f}" for value in values)])
    first = ", ".join(provenance.words("look_first") or ["none"])
    note = "Neither is calibrated: they rank cases, and stand for no Dice."
    return f"<h2>Doubt</h2>{_table_html(note, head, rows)}<p>To look at first: {escape(first)}</p>"


def _provenance_rows(provenance: Provenance) -> dict[str, str]:
    record, seconds = provenance.record, provenance.table("seconds")
    rows = {
        "bundle": f"SHA-256 {record.get('bundle_sha256', 'not recorded')}",
        "computed by": str(record.get("computed_by") or record.get("machine", "not recorded")),
        "backend": str(record.get("backend_chosen", "as asked for")),
        "plan": _plan_words(record.get("plan")),
        "postprocessing": str(record.get("postprocessing", "not recorded")),
        "overridden checks": "; ".join(provenance.words("overridden")) or "none",
        "seconds": ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items()) or "not recorded",
        "machine": str(record.get("machine", "not recorded")),
    }
    asked = provenance.table("asked_for")
    return {**rows, "asked for": ", ".join(f"{key} {value}" for key, value in asked.items() if value not in (None, ""))}


def _plan_words(plan: object) -> str:
    try:
        return str(from_mapping(Plan, plan if isinstance(plan, dict) else {}))
    except ConfigError:  # of another version
        return json.dumps(plan)


def _table_html(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = []
    for name, *cells in rows:
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{values}</tr>')
    body = f"<thead><tr>{first}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table><caption>{escape(caption)}</caption>{body}</table></div>'


def _list_html(rows: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in rows.items())}</dl>"
