"""Cases checked, cropped and normalized once, so that training maps them from the disk and reads nothing twice."""

from __future__ import annotations

import dataclasses
import io
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import CaseError, ConfigError
from ssa_fast.files import sha256, write_whole
from ssa_fast.labels import ET, LABEL_NAMES
from ssa_fast.train.lock import LOCK_FILE, folder_lock
from ssa_fast.train.patches import remove_patches, write_patches
from ssa_fast.train.prepared import (
    KINDS,
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
from ssa_fast.train.problems import Checked, Problem, check_case, reference_values
from ssa_fast.volume.case import CaseFiles
from ssa_fast.volume.geometry import LabelArray, to_ras
from ssa_fast.volume.preprocess import crop_to_brain

__all__ = ["PROBLEMS_FILE", "Outcome", "prepare_cases"]

PROBLEMS_FILE = "problems.json"
_SEG = "seg"
_OWN_NAMES = (MANIFEST, PROBLEMS_FILE, PATCHES_FOLDER, LOCK_FILE)
_OLD_ET = 4  # enhancing tumour up to BraTS 2021
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one case."""

    name: str
    action: Literal["prepared", "kept", "refused"]
    why: str  # it was prepared; "" if it was kept or refused
    seconds: float
    problems: tuple[Problem, ...] = ()


def prepare_cases(
    cases: Sequence[CaseFiles], out: Path, version: str, patches: PatchSettings | None = None
) -> Iterator[Outcome]:
    """Prepare each case into `out/CASE/`, and name it in `out/manifest.json` when its files are whole.

    A case whose files have the SHA-256 that the manifest knows, and whose prepared files have theirs, is kept as it
    is. What is stopped at any moment leaves a folder that can be trained on and gone on with. A case with a problem
    is refused, taken out of the manifest if it was there, and does not stop the others. Cases of the folder that
    are not given stay, unless their folder was removed. `version` is that of ssa-fast. Patches are written into
    `out/patches`, for cases that they are asked for now or have been before.

    Raises ConfigError if `out` holds other things than a prepared folder, is where the cases themselves lie, or is
    being written by another run.
    """
    for files in cases:
        if files.folder.resolve() in {(out / files.name).resolve(), out.resolve()}:
            raise ConfigError(f"{out}: case {files.name} itself lies there: choose another --out")
    with folder_lock(out):
        yield from _prepare_locked(cases, out, version, patches)


def _prepare_locked(
    cases: Sequence[CaseFiles], out: Path, version: str, patches: PatchSettings | None
) -> Iterator[Outcome]:
    folder = _Folder(out, version, cases)
    if patches is not None:
        folder.ask_for_patches(patches, [files.name for files in cases])
    values = {files.name: _label_values(files, folder.entries.get(files.name)) for files in cases}
    both = sorted(name for name, known in values.items() if {ET, _OLD_ET} <= known)
    owners = {
        file.sha256: (name, kind, False)
        for name, entry in folder.entries.items()
        if name not in values
        for kind, file in entry.inputs.items()
    }
    for files in cases:
        began = time.perf_counter()
        inputs = _fingerprints(files)
        problems = _set_problems(files, inputs, values[files.name], both, owners)
        why = folder.staleness(files.name, inputs)
        if problems:
            checked = check_case(files)
            problems += [] if isinstance(checked, Checked) else checked
        elif why:
            problems = folder.prepare(files, inputs)
        if problems:
            folder.drop(files.name)
        else:
            folder.follow(files, inputs)
            patched = folder.add_patches(files.name)
            why = why or patched
        action: Literal["prepared", "kept", "refused"] = "refused" if problems else "prepared" if why else "kept"
        seconds = time.perf_counter() - began
        yield Outcome(name=files.name, action=action, why=why, seconds=seconds, problems=tuple(problems))


class _Folder:
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
        damaged = [file for file, known in entry.outputs.items() if _sha256_of(self._out / name / file) != known]
        return f"{' and '.join(damaged)} missing or damaged" if damaged else ""

    def prepare(self, files: CaseFiles, inputs: Mapping[str, SourceFile]) -> list[Problem]:
        """Write a case's files, then its entry; or what keeps it from being written."""
        checked = check_case(files)
        if not isinstance(checked, Checked):
            return checked
        assert checked.reference is not None, files.name  # a case checked for training has one
        try:
            brain = crop_to_brain(checked.case)
        except CaseError as error:
            return [Problem.of_error(files.name, "", error)]
        turned = to_ras(checked.reference.array, checked.reference.affine)[brain.box.slices]
        labels: LabelArray = np.ascontiguousarray(turned, dtype=np.uint8)
        counts = np.bincount(labels.ravel(), minlength=1 + max(LABEL_NAMES))
        if not counts[1:].any():
            _log.warning("case %s: its segmentation is empty: check that the patient has no tumour", files.name)
        place = self._out / files.name
        self.drop(files.name)  # from here until it is put back its files are of no one state
        remove_patches(self._out / PATCHES_FOLDER, files.name)
        _remove_partials(place)
        contents = {VOLUME_FILE: _npy(brain.array.astype(np.float16)), LABELS_FILE: _npy(labels)}
        for file, content in contents.items():
            write_whole(place / file, content)
        grid = checked.case.grid
        x, y, z = grid.array.shape
        ras_x, ras_y, ras_z = brain.ras_shape
        self._put(
            files.name,
            Entry(
                source=_from(self._out, files.folder),
                inputs=dict(inputs),
                shape=(x, y, z),
                affine=tuple(tuple(float(value) for value in row) for row in grid.affine),
                ras_shape=(ras_x, ras_y, ras_z),
                box_start=brain.box.start,
                box_stop=brain.box.stop,
                label_values=checked.label_values,
                label_mapping={str(_OLD_ET): ET} if _OLD_ET in checked.label_values else {},
                label_voxels={name: int(counts[label]) for label, name in LABEL_NAMES.items()},
                outputs={file: sha256(content) for file, content in contents.items()},
            ),
        )
        return []

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
            damaged = [file for file, value in known.files.items() if _sha256_of(folder / file) != value]
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


def _set_problems(
    files: CaseFiles,
    inputs: Mapping[str, SourceFile],
    values: frozenset[int],
    both: Sequence[str],
    owners: dict[str, tuple[str, str, bool]],
) -> list[Problem]:
    """What is wrong with a case among the others: labels of an unknown age, images of another case.

    `owners` knows whose each file is, by SHA-256, and whether that case is given too; this case's are added.
    """
    problems = []
    if files.name in _OWN_NAMES:
        seen = f"a case is called '{files.name}', as a file or folder of prepare's own"
        problems.append(Problem(case=files.name, file="", seen=seen, remedy="rename the case"))
    if _OLD_ET in values and ET not in values and both:
        seen = f"label 4 without 3, while case {both[0]} of the same set has both: 4 may be no enhancing tumour here"
        problems.append(_problem(files, _SEG, seen, "prepare the sets apart, each with one meaning of its labels"))
    for kind, file in inputs.items():
        if kind == _SEG:
            continue
        name, other, is_given = owners.setdefault(file.sha256, (files.name, kind, True))
        if name != files.name:
            remedy = (
                "keep one of the two cases" if is_given else f"or was {name} renamed? Then remove its folder in --out"
            )
            problems.append(_problem(files, kind, f"the same file as {other} of case {name}", remedy))
    return problems


def _problem(files: CaseFiles, kind: str, seen: str, remedy: str) -> Problem:
    return Problem(case=files.name, file=files.found[kind][0].name, seen=seen, remedy=remedy)


def _label_values(files: CaseFiles, entry: Entry | None) -> frozenset[int]:
    """The values of a case's reference, from its entry if that is of the same file; none if it cannot be read."""
    paths = files.found.get(_SEG, ())
    if len(paths) != 1:
        return frozenset()
    if entry is not None and _sha256_of(paths[0]) == entry.inputs[_SEG].sha256:
        return frozenset(entry.label_values)
    return reference_values(paths[0])


def _fingerprints(files: CaseFiles) -> dict[str, SourceFile]:
    """The files of a case by kind; without those that are missing, double or unreadable."""
    found = {}
    for kind in KINDS:
        paths = files.found.get(kind, ())
        if len(paths) == 1 and (value := _sha256_of(paths[0])):
            found[kind] = SourceFile(file=paths[0].name, sha256=value)
    return found


def _sha256_of(path: Path) -> str:
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
