"""A prepared folder while it is filled: a stop between any two files leaves it whole."""

from __future__ import annotations

import dataclasses
import io
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import ConfigError
from ssa_fast.files import sha256, write_whole
from ssa_fast.labels import ET, LABEL_NAMES
from ssa_fast.prepare.lock import LOCK_FILE
from ssa_fast.prepare.patches import remove_patches, write_patches
from ssa_fast.prepare.prepared import (
    LABELS_FILE,
    MANIFEST,
    PATCHES_FOLDER,
    VOLUME_FILE,
    Entry,
    Manifest,
    PatchSet,
    PatchSettings,
    SourceFile,
    read_manifest,
    write_manifest,
)
from ssa_fast.prepare.problems import Checked, Problem, check_brain
from ssa_fast.volume.case import CaseFiles
from ssa_fast.volume.geometry import LabelArray, to_ras
from ssa_fast.volume.preprocess import Brain

__all__ = ["OLD_ET", "FolderInWork", "sha256_of"]

OLD_ET = 4
"""Enhancing tumour up to BraTS 2021."""

_log = logging.getLogger(__name__)


class FolderInWork:
    """A prepared folder while it is filled: every change of its manifest is on the disk at once."""

    def __init__(self, out: Path, version: str, cases: Sequence[CaseFiles]) -> None:
        self._out, self._version = out, version
        self.entries: dict[str, Entry] = {}
        self._asked: dict[str, PatchSettings] = {}  # also for cases that are not there now: they may come back
        if not (out / MANIFEST).exists():
            own = (LOCK_FILE, f".{MANIFEST}.*.partial")
            if any(not any(path.match(name) for name in own) for path in out.iterdir()):
                raise ConfigError(f"{out}: holds files but no {MANIFEST}: choose a new or an empty folder for --out")
            self._save()
            return
        manifest = read_manifest(out)
        _remove_partials(out)
        given = {files.name for files in cases}
        if manifest.is_current:
            self.entries = {name: entry for name, entry in manifest.cases.items() if self._is_there(name, given)}
        written = {name: entry.patches.settings for name, entry in manifest.cases.items() if entry.patches}
        asked = {**written, **manifest.patches}  # earlier versions noted them in the entries alone
        self._asked = {name: settings for name, settings in asked.items() if self._is_there(name, given)}
        lost = sorted(set(manifest.cases) - set(self.entries) - given)
        if lost:
            reason = "their folders were removed" if manifest.is_current else "an older version prepared them otherwise"
            _log.warning("%s: taken out of the manifest, for %s: %s", out, reason, ", ".join(lost))
        if set(self.entries) != set(manifest.cases) or self._asked != manifest.patches:
            self._save()

    def ask_for_patches(self, settings: PatchSettings, names: Sequence[str]) -> None:
        """Note how patches of these cases are wanted, now and whenever they are prepared again."""
        asked = {**self._asked, **dict.fromkeys(names, settings)}
        if asked != self._asked:
            self._asked = asked
            self._save()

    def staleness(self, name: str, inputs: Mapping[str, SourceFile]) -> str:
        """Why a case must be prepared, or "" if all is as its entry says."""
        entry = self.entries.get(name)
        if entry is None:
            return "new"
        changed = [
            kind for kind, known in entry.inputs.items() if kind not in inputs or inputs[kind].sha256 != known.sha256
        ]
        if changed:
            return f"{' '.join(changed)} changed"
        damaged = [file for file, known in entry.outputs.items() if sha256_of(self._out / name / file) != known]
        return f"{' and '.join(damaged)} missing or damaged" if damaged else ""

    def prepare(self, files: CaseFiles, inputs: Mapping[str, SourceFile]) -> list[Problem]:
        """Write a case's files, then its entry; or what keeps it from being written."""
        found = check_brain(files)
        if isinstance(found, list):
            return found
        checked, brain = found
        labels = _labels_of(checked, brain)
        contents = {VOLUME_FILE: _npy(brain.array.astype(np.float16)), LABELS_FILE: _npy(labels)}
        entry = Entry(
            source=_from(self._out, files.folder),
            inputs=dict(inputs),
            **_geometry(checked, brain),
            label_values=checked.label_values,
            label_mapping={str(OLD_ET): ET} if OLD_ET in checked.label_values else {},
            label_voxels={name: int(np.count_nonzero(labels == label)) for label, name in LABEL_NAMES.items()},
            outputs={file: sha256(content) for file, content in contents.items()},
        )
        self._write(files.name, contents, entry)
        return []

    def _write(self, name: str, contents: Mapping[str, bytes], entry: Entry) -> None:
        """Put a case's files in the place of those before, and only then its entry."""
        self.drop(name)  # from here until it is put back its files are of no one state
        remove_patches(self._out / PATCHES_FOLDER, name)
        _remove_partials(self._out / name)
        for file, content in contents.items():
            write_whole(self._out / name / file, content)
        self._put(name, entry)

    def follow(self, files: CaseFiles, inputs: Mapping[str, SourceFile]) -> None:
        """Note where a case's files lie now: validation reads them, and they may have been moved or renamed."""
        entry, source = self.entries[files.name], _from(self._out, files.folder)
        if (entry.source, entry.inputs) != (source, inputs):
            self._put(files.name, dataclasses.replace(entry, source=source, inputs=dict(inputs)))

    def add_patches(self, name: str) -> str:
        """Write the patches of a prepared case, if they were asked for; returns why, or "" if nothing was to do."""
        entry, folder = self.entries[name], self._out / PATCHES_FOLDER
        settings = self._asked.get(name)
        if settings is None:
            return ""
        why = "patches"
        if (known := entry.patches) and known.settings == settings and known.files:
            damaged = [file for file, value in known.files.items() if sha256_of(folder / file) != value]
            if not damaged:
                return ""
            why = f"{len(damaged)} of {len(known.files)} patches missing or damaged"
        self._put(name, dataclasses.replace(entry, patches=None))  # until they are written they are of no one state
        volume = np.load(self._out / name / VOLUME_FILE, mmap_mode="r")
        labels = np.load(self._out / name / LABELS_FILE)
        files = write_patches(folder, name, volume, labels, settings)
        self._put(name, dataclasses.replace(entry, patches=PatchSet(settings=settings, files=files)))
        return why

    def drop(self, name: str) -> None:
        """Take a case out of the manifest; its files stay."""
        if self.entries.pop(name, None) is not None:
            self._save()

    def _put(self, name: str, entry: Entry) -> None:
        self.entries[name] = entry
        self._save()

    def _save(self) -> None:
        cases = {name: self.entries[name] for name in sorted(self.entries)}
        asked = {name: self._asked[name] for name in sorted(self._asked)}
        write_manifest(self._out, Manifest(ssa_fast=self._version, patches=asked, cases=cases))

    def _is_there(self, name: str, given: set[str]) -> bool:
        return name in given or (self._out / name).is_dir()


class _Geometry(TypedDict):
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    ras_shape: tuple[int, int, int]
    box_start: tuple[int, int, int]
    box_stop: tuple[int, int, int]


def _geometry(checked: Checked, brain: Brain) -> _Geometry:
    """Where the brain lies in its files, as an entry says it."""
    grid = checked.case.grid
    x, y, z = grid.array.shape
    ras_x, ras_y, ras_z = brain.ras_shape
    return {
        "shape": (x, y, z),
        "affine": tuple(tuple(float(value) for value in row) for row in grid.affine),
        "ras_shape": (ras_x, ras_y, ras_z),
        "box_start": brain.box.start,
        "box_stop": brain.box.stop,
    }


def _labels_of(checked: Checked, brain: Brain) -> LabelArray:
    """The reference in RAS over the brain's box."""
    assert checked.reference is not None, checked.case.name  # a case checked for training has one
    turned = to_ras(checked.reference.array, checked.reference.affine)[brain.box.slices]
    labels: LabelArray = np.ascontiguousarray(turned, dtype=np.uint8)
    if not labels.any():
        _log.warning("case %s: its segmentation is empty: check that the patient has no tumour", checked.case.name)
    return labels


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, or "" if it is empty, as many a bad copy is, or cannot be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    return sha256(content) if content else ""


def _npy(array: npt.NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _from(out: Path, folder: Path) -> str:
    """The way from `out` to `folder`: both may move together. The whole path where there is none (another drive)."""
    try:
        return Path(os.path.relpath(folder.resolve(), out.resolve())).as_posix()
    except ValueError:
        return folder.resolve().as_posix()


def _remove_partials(folder: Path) -> None:
    """Remove what a killed run left half-written."""
    if folder.is_dir():
        for path in folder.glob(".*.partial"):
            path.unlink()
