"""What is kept of how a case was segmented, and whether that still holds."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssa_fast.config import to_mapping
from ssa_fast.errors import CaseError
from ssa_fast.files import os_errors_of, sha256, write_json
from ssa_fast.infer.segmentation import Segmentation
from ssa_fast.labels import LABEL_NAMES, MODALITIES
from ssa_fast.measure import machine_line
from ssa_fast.volume.case import CaseFiles, same_grid
from ssa_fast.volume.nifti import read_labels, read_volume

__all__ = [
    "RESULTS",
    "input_hashes",
    "is_done",
    "map_path",
    "record_of",
    "record_path",
    "remove_earlier_maps",
    "result_path",
    "settle",
]

RESULTS = "results.jsonl"
"""The file that gets a line a case."""


def result_path(out: Path, name: str) -> Path:
    """Where the label map of a case goes."""
    return out / f"{name}.nii.gz"


def map_path(out: Path, name: str, kind: str) -> Path:
    """Where a map of a case, such as its probabilities, goes."""
    return out / f"{name}-{kind}.nii.gz"


def record_path(out: Path, name: str) -> Path:
    """Where the record of a case goes."""
    return out / f"{name}.json"


def input_hashes(files: CaseFiles) -> dict[str, str]:
    """Modality -> SHA-256 of its file. Raises CaseError for a modality that is missing, double or unreadable."""
    hashes = {}
    for modality in MODALITIES:
        path = files.one(modality)
        try:
            hashes[modality] = sha256(path.read_bytes())
        except OSError as error:
            raise CaseError(f"case {files.name}: {path}: cannot be read ({error.strerror})") from error
    return hashes


def record_of(
    segmentation: Segmentation, seconds: Mapping[str, float], hashes: Mapping[str, str], facts: Mapping[str, object]
) -> dict[str, Any]:
    """The record of a case, as plain values but without its label map's fingerprint.

    `facts` are the run's, such as the bundle's fingerprint.
    """
    return {
        "case": segmentation.name,
        "volumes_ml": segmentation.volumes_ml,
        "postprocessing": segmentation.postprocessing,
        "doubt": None if segmentation.doubt is None else to_mapping(segmentation.doubt),
        "look_first": [] if segmentation.doubt is None else list(segmentation.doubt.look_first),
        "overridden": list(segmentation.overridden),
        "plan": to_mapping(segmentation.plan),
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
        "computed_by": str(segmentation.device),
        "machine": machine_line(str(segmentation.device)),
        "inputs_sha256": dict(hashes),
        **facts,
    }


def settle(out: Path, results: str, record: Mapping[str, Any], fingerprint: str) -> None:
    """Make a case done: add its line to the file of results, then write its record beside its label map.

    `fingerprint` is the label map's, of what was written, not of what is there: another process may have written since.
    The record comes last, and vouches for both. Raises OSError.
    """
    _append_result(out / results, record)
    write_json(record_path(out, str(record["case"])), {**record, "output_sha256": fingerprint})


def _append_result(path: Path, record: Mapping[str, Any]) -> None:
    """Add a record as one line of JSON, in one write: a stop leaves no half line but for a full disk.

    After a half line it begins a new one. Raises OSError, with `path` as its file.
    """
    line = (json.dumps(record) + "\n").encode()
    with os_errors_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def remove_earlier_maps(out: Path, name: str, kept: Mapping[str, object]) -> None:
    """Remove the maps of an earlier run that its record vouches for, but those `kept`: they belong to other labels."""
    try:
        record = json.loads(record_path(out, name).read_text(encoding="utf-8"))
        earlier = dict(record["maps_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    for kind, fingerprint in earlier.items():
        path = map_path(out, name, kind)
        if kind not in kept and path.is_file() and sha256(path.read_bytes()) == fingerprint:
            path.unlink()


def is_done(files: CaseFiles, out: Path, facts: Mapping[str, object], kept: tuple[str, ...]) -> str:
    """Nothing if the case's result is there, whole, on the case's grid, and made as it would be now; else why not.

    As now: of these inputs, and with those of `facts` that `kept` names, such as the bundle's fingerprint. A result
    that overrode a check holds only where `facts` say that the run is forced, too.
    """
    path, record_file = result_path(out, files.name), record_path(out, files.name)
    if not path.exists() or not record_file.exists():
        return "no result yet"
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        content = path.read_bytes()
    except (OSError, ValueError):
        return "its record or result cannot be read"
    if not isinstance(record, dict) or record.get("output_sha256") != sha256(content):
        return "its result was altered since"
    if altered := _altered_map(out, record):
        return f"its map of {altered} is gone or was altered since"
    if record.get("inputs_sha256") != input_hashes(files):
        return "its images were altered since"
    for fact in kept:
        if record.get(fact) != json.loads(json.dumps(facts.get(fact))):
            return f"its {fact.replace('_', ' ')} differs"
    if record.get("overridden") and not facts.get("is_forced"):
        return "it was forced"
    try:
        labels = read_labels(path)
        same_grid(labels, read_volume(files.one(MODALITIES[0])))
    except CaseError as error:
        return f"its result does not fit ({error})"
    if int(np.max(labels.array, initial=0)) > max(LABEL_NAMES):
        return "its result holds labels of another kind"
    return ""


def _altered_map(out: Path, record: Mapping[str, Any]) -> str:
    """The first map of a record that is not there as it was written; nothing if all are."""
    for kind, fingerprint in record.get("maps_sha256", {}).items():
        path = map_path(out, str(record.get("case")), kind)
        try:
            content = path.read_bytes()
        except OSError:
            return str(kind)
        if sha256(content) != fingerprint:
            return str(kind)
    return ""
