"""Everything that is wrong with a case, in rows of one table: not the first fault only."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import CaseError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import Case, CaseFiles, check_voxels, same_grid
from ssa_fast.volume.nifti import Volume, as_labels, read_volume
from ssa_fast.volume.preprocess import Brain, crop_to_brain

__all__ = [
    "Checked",
    "Problem",
    "check_brain",
    "check_case",
    "problem_table",
    "problems_to_json",
    "reference_values",
    "tumor_outside",
]

_SEG = "seg"
_READERS = 2  # threads: ISA-L lets go of the interpreter lock, and a small machine has two cores
_MOST_FOREGROUND = 0.95  # of the volume: a skull-stripped head leaves far more than a twentieth empty
_LEAST_COVER = 0.5  # of the brain, by each modality; 0.995 is the least of fifteen BraTS-SSA cases
_MOST_OUTSIDE = 0.01  # of the tumour, outside of the brain; 0 in fifteen BraTS-SSA cases
_HEADINGS = ("case", "file", "what was seen", "what to do")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that must be mended before a case can be used."""

    case: str
    file: str  # its name, or what is missing, or "" for the case as a whole
    seen: str
    remedy: str

    @classmethod
    def of_error(cls, case: str, file: str, error: Exception) -> Problem:
        """A row of an error of ours, whose one line is `where: what was seen: what to do`."""
        line = str(error).removeprefix(f"case {case}: ")
        if (colon := line.find(f"{file}: ")) >= 0 and file:  # the path, which the row has already
            line = line[colon + len(file) + 2 :]
        seen, _, remedy = line.rpartition(": ")
        return cls(case=case, file=file, seen=seen or line, remedy=remedy if seen else "")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A case that was read, with its reference where it has one."""

    case: Case
    reference: Volume | None  # labels 0-3, in the axes of its file
    label_values: tuple[int, ...]  # as they stand in the file: 4 up to BraTS 2021


def check_brain(files: CaseFiles, *, for_training: bool = True) -> tuple[Checked, Brain] | list[Problem]:
    """A case as it was read with its brain, cropped and normalized, or all that is wrong with it, as `check_case`."""
    checked = check_case(files, for_training=for_training)
    if not isinstance(checked, Checked):
        return checked
    try:
        return checked, crop_to_brain(checked.case)
    except CaseError as error:
        return [Problem.of_error(files.name, "", error)]


def check_case(files: CaseFiles, *, for_training: bool = True) -> Checked | list[Problem]:
    """A case as it was read, or all that is wrong with it, one file after the other.

    For training it needs a reference and voxels of 1 mm; a description does without either.
    """
    kinds = [*MODALITIES, *([_SEG] if for_training or files.found.get(_SEG) else [])]
    with ThreadPoolExecutor(_READERS) as readers:
        attempts = list(readers.map(functools.partial(_attempt, files), kinds))
    problems = [attempt for attempt in attempts if isinstance(attempt, Problem)]
    volumes = {kind: found for kind, found in zip(kinds, attempts, strict=True) if isinstance(found, Volume)}
    problems += _grid_problems(files.name, volumes, for_training=for_training)
    reference: Volume | None = None
    values: tuple[int, ...] = ()
    if _SEG in volumes:
        try:
            reference = as_labels(volumes[_SEG])
        except CaseError as error:
            problems.append(Problem.of_error(files.name, volumes[_SEG].path.name, error))
        else:
            values = _label_values(volumes[_SEG])
    images = {kind: volume for kind, volume in volumes.items() if kind != _SEG}
    if not problems:  # on one grid
        problems = list(_content_problems(files.name, images, reference))
    else:
        problems += _zero_problems(files.name, images)
    if problems:
        return problems
    return Checked(
        case=Case(name=files.name, volumes=tuple(images[kind] for kind in MODALITIES)),
        reference=reference,
        label_values=values,
    )


def problem_table(problems: Sequence[Problem]) -> str:
    """The problems in aligned columns, a row each; the last column is not filled up."""
    rows = [_HEADINGS, *((row.case, row.file, row.seen, row.remedy) for row in problems)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS) - 1)]
    lines = [
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def problems_to_json(problems: Iterable[Problem], cases: Sequence[str], version: str) -> dict[str, Any]:
    """Plain values (JSON types) of the problems of `cases`; files stand by name, not by path."""
    rows = [asdict(problem) for problem in problems]
    return {"ssa_fast": version, "cases": len(cases), "problems": rows}


def _attempt(files: CaseFiles, kind: str) -> Volume | Problem:
    paths = files.found.get(kind, ())
    file = paths[0].name if len(paths) == 1 else f"{files.name}-{kind}"
    try:
        return read_volume(files.one(kind))
    except CaseError as error:
        problem = Problem.of_error(files.name, file, error)
        seen = problem.seen.replace(f" in {files.folder}", "")  # what may leave the machine
        if len(paths) == 1 and paths[0].is_symlink():
            seen = seen.replace(f"a link to {paths[0].readlink()}", "a link that leads nowhere")
        return replace(problem, seen=seen)


def _grid_problems(case: str, volumes: dict[str, Volume], *, for_training: bool) -> list[Problem]:
    problems = []
    wanted: Volume | None = None
    for volume in volumes.values():
        wanted = wanted or volume
        try:
            same_grid(volume, wanted)
            if volume is wanted and for_training:
                check_voxels(volume)
        except CaseError as error:
            problems.append(Problem.of_error(case, volume.path.name, error))
    return problems


def _zero_problems(case: str, images: dict[str, Volume]) -> Iterator[Problem]:
    for kind, volume in images.items():
        if not volume.array.any():
            yield _problem(case, volume.path, f"every voxel of {kind} is zero", "export the image again")


def _content_problems(case: str, images: dict[str, Volume], reference: Volume | None) -> Iterator[Problem]:
    """What cannot be so in four images of one brain, on one grid."""
    empty = list(_zero_problems(case, images))
    if empty:
        yield from empty
        return
    masks = {kind: volume.array != 0 for kind, volume in images.items()}
    brain = np.logical_or.reduce(list(masks.values()))
    voxels = np.count_nonzero(brain)
    if voxels > _MOST_FOREGROUND * brain.size:
        share = f"{voxels / brain.size:.0%} of the voxels are not zero, wanted a brain in zeros"
        yield _problem(case, None, share, "strip the skull first, and set what is outside to zero")
    for kind, mask in masks.items():
        if (share_covered := np.count_nonzero(mask) / voxels) < _LEAST_COVER:
            seen = f"{kind} covers {share_covered:.0%} of the brain that the other images show"
            yield _problem(case, images[kind].path, seen, "look at it: is it cut off, or of another patient?")
    for one, other in combinations(images, 2):
        if np.array_equal(images[one].array, images[other].array):
            yield _problem(case, images[other].path, f"{other} is the same image as {one}", "copy the right image")
    if reference is not None and (seen := tumor_outside(reference.array, brain)):
        yield _problem(case, reference.path, seen, "check that the segmentation is of this case and not mirrored")


def tumor_outside(labels: npt.NDArray[np.generic], brain: npt.NDArray[np.bool_]) -> str:
    """How much of a case's tumor lies outside of its brain, in words; "" if that is as little as it may be."""
    tumor = labels != 0
    outside, voxels = np.count_nonzero(tumor & ~brain), np.count_nonzero(tumor)
    return f"{outside} of {voxels} labelled voxels lie outside of the brain" if outside > _MOST_OUTSIDE * voxels else ""


def reference_values(path: Path) -> frozenset[int]:
    """The label values of a segmentation as they stand in its file; none if it cannot be read."""
    try:
        return frozenset(_label_values(read_volume(path)))
    except CaseError:
        return frozenset()


def _label_values(volume: Volume) -> tuple[int, ...]:
    """The whole numbers from 0 to 255 in a volume, ascending."""
    with np.errstate(invalid="ignore"):  # what fits no uint8 is refused elsewhere
        counts = np.bincount(volume.array.astype(np.uint8).ravel(order="K"))
    return tuple(int(value) for value in np.flatnonzero(counts))


def _problem(case: str, path: Path | None, seen: str, remedy: str) -> Problem:
    return Problem(case=case, file=path.name if path else "", seen=seen, remedy=remedy)
