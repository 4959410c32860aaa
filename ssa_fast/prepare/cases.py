"""Cases checked, cropped and normalized once, so that training maps them from the disk and reads nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssa_fast.errors import ConfigError
from ssa_fast.labels import ET
from ssa_fast.prepare.folder import OLD_ET, FolderInWork, sha256_of
from ssa_fast.prepare.lock import LOCK_FILE, folder_lock
from ssa_fast.prepare.prepared import KINDS, MANIFEST, PATCHES_FOLDER, Entry, PatchSettings, SourceFile
from ssa_fast.prepare.problems import Checked, Problem, check_case, reference_values
from ssa_fast.volume.case import CaseFiles

__all__ = ["PROBLEMS_FILE", "Outcome", "prepare_cases"]

PROBLEMS_FILE = "problems.json"
_SEG = "seg"
_OWN_NAMES = (MANIFEST, PROBLEMS_FILE, PATCHES_FOLDER, LOCK_FILE)


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
    folder = FolderInWork(out, version, cases)
    if patches is not None:
        folder.ask_for_patches(patches, [files.name for files in cases])
    values = {files.name: _label_values(files, folder.entries.get(files.name)) for files in cases}
    both = sorted(name for name, known in values.items() if {ET, OLD_ET} <= known)
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
    if OLD_ET in values and ET not in values and both:
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
    if entry is not None and sha256_of(paths[0]) == entry.inputs[_SEG].sha256:
        return frozenset(entry.label_values)
    return reference_values(paths[0])


def _fingerprints(files: CaseFiles) -> dict[str, SourceFile]:
    """The files of a case by kind; without those that are missing, double or unreadable."""
    found = {}
    for kind in KINDS:
        paths = files.found.get(kind, ())
        if len(paths) == 1 and (value := sha256_of(paths[0])):
            found[kind] = SourceFile(file=paths[0].name, sha256=value)
    return found
