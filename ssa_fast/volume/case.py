"""Cases: found on disk by the names that BraTS has used, read and checked as one."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from ssa_fast.errors import CaseError
from ssa_fast.labels import MODALITIES, MODALITY_WORDS, SEGMENTATION_WORDS
from ssa_fast.volume.geometry import Affine, LabelArray, spacing_mm, to_ras
from ssa_fast.volume.nifti import Volume, is_nifti, read_labels, read_volume, without_suffix

__all__ = [
    "AFFINE_TOLERANCE_MM",
    "Case",
    "CaseFiles",
    "check_voxels",
    "errors_of_case",
    "find_cases",
    "has_voxels_of_1_mm",
    "named_case",
    "read_case",
    "read_reference",
    "same_grid",
]

_REFERENCE = "seg"
_WORDS = {**MODALITY_WORDS, **dict.fromkeys(SEGMENTATION_WORDS, _REFERENCE)}
_LAST_WORD = re.compile(r"^(?:(?P<case>.*?)[-_. ])?(?P<word>[a-z0-9]+)$", re.IGNORECASE)
AFFINE_TOLERANCE_MM = 1e-3
"""By which an entry of two affines may differ on one grid."""

_SPACING_TOLERANCE_MM = 1e-3
_COSINE_TOLERANCE = 1e-3  # of the angle between two axes: a shear of a quarter of a voxel over a whole head
_READERS = 2  # threads: ISA-L lets go of the interpreter lock, and a small machine has two cores


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """The files of one case as found: each modality's, and the reference segmentation's where there is one.

    More than one file for a modality, or none, is a fact here and an error when the case is read,
    so that one bad case does not hide the others.
    """

    name: str
    folder: Path
    found: Mapping[str, tuple[Path, ...]]  # modality or "seg" -> files

    @property
    def reference(self) -> Path | None:
        """The reference segmentation's file, or None.

        Raises CaseError if there are two.
        """
        return self.one(_REFERENCE) if self.found.get(_REFERENCE) else None

    def one(self, kind: str) -> Path:
        """The one file of a modality (or "seg").

        Raises CaseError if there is none or more than one.
        """
        paths = self.found.get(kind, ())
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise CaseError(
                f"case {self.name}: {kind} is there {len(paths)} times ({names}) in {self.folder}: keep one"
            )
        if not paths:
            there = ", ".join(self.found) or "nothing"
            example = f"{self.name}-{kind}.nii.gz"
            raise CaseError(f"case {self.name}: no {kind} in {self.folder} (found: {there}): add {example}")
        return paths[0]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Four modalities of one visit on one grid, in the axes of their files."""

    name: str
    volumes: tuple[Volume, ...]  # in the order of MODALITIES

    @property
    def grid(self) -> Volume:
        """The volume whose shape, affine and header a result takes over."""
        return self.volumes[0]

    @property
    def nbytes(self) -> int:
        """Memory that the voxels take."""
        return sum(volume.array.nbytes for volume in self.volumes)

    def without_voxels(self) -> Case:
        """The same case with volumes that have lost their voxels: see `Volume.without_voxels`."""
        return replace(self, volumes=tuple(volume.without_voxels() for volume in self.volumes))


def find_cases(paths: Iterable[Path]) -> list[CaseFiles]:
    """Every case in case folders, folders of cases at any depth, or files; sorted by name.

    A file belongs to a case by its name, `CASE-WORD.nii.gz`, or by its folder's, `CASE/WORD.nii.gz`, with WORD one of
    `labels.MODALITY_WORDS` (BraTS 2018 to today); other files are passed over. Group folders such as
    `95_Glioma/` of the TCIA release of BraTS-Africa are walked through.

    Raises CaseError if a path does not exist or holds no case, a folder cannot be read, or two cases have one name.
    """
    cases: dict[str, CaseFiles] = {}
    loose: list[Path] = []
    for path in paths:
        if path.is_dir():
            groups = _cases_below(path)
            if not groups:
                raise CaseError(
                    f"{path}: no case found: wanted files like CASE-t1n.nii.gz, -t1c, -t2w and -t2f; for files of "
                    "other names there are --t1n, --t1c, --t2w and --t2f"
                )
            for case in groups:
                _add(cases, case)
        elif path.exists():
            loose.append(path.parent.resolve() / path.name)
        else:
            raise CaseError(f"{path}: no such file or folder: check the path")
    for path in loose:
        if not is_nifti(path) or _split(path) is None:
            raise CaseError(f"{path}: its name ends in no modality: name the files with --t1n --t1c --t2w --t2f")
    for case in _grouped(list(dict.fromkeys(loose))):
        _add(cases, case)
    return [cases[name] for name in sorted(cases)]


def named_case(files: Mapping[str, Path], name: str | None = None) -> CaseFiles:
    """A case from one named file a modality, whatever the files are called.

    It is called `name`, else after its T1: by what stands before the modality in the file's name, if it is known there.
    """
    first = files[MODALITIES[0]]
    split = _split(first)
    found = {kind: (path,) for kind, path in files.items()}
    return CaseFiles(name=name or (split[0] if split else without_suffix(first)), folder=first.parent, found=found)


def read_case(files: CaseFiles, *, is_any_spacing: bool = False) -> Case:
    """The four modalities of a case, read on two threads and checked against each other.

    Raises CaseError for a modality that is missing, double, unreadable or all zero, for shapes or affines that
    differ, and for voxels that are not cubes of 1 mm; with `is_any_spacing` boxes of right angles will do. Its message
    begins with `case NAME: `.
    """
    with errors_of_case(files.name):
        paths = [files.one(modality) for modality in MODALITIES]
        for place, path in enumerate(paths):
            twin = [resolved for resolved in range(place) if paths[resolved].resolve() == path.resolve()]
            if twin:
                raise CaseError(
                    f"{path} is given as {MODALITIES[twin[0]]} and as {MODALITIES[place]}: give each its own"
                )
        with ThreadPoolExecutor(_READERS) as readers:
            volumes = tuple(readers.map(read_volume, paths))
        for modality, volume in zip(MODALITIES, volumes, strict=True):
            same_grid(volume, volumes[0])
            if not volume.array.any():
                raise CaseError(f"{volume.path}: every voxel of {modality} is zero: export the image again")
        check_voxels(volumes[0], is_any_spacing=is_any_spacing)
    return Case(name=files.name, volumes=volumes)


def read_reference(files: CaseFiles, case: Case) -> LabelArray:
    """The reference segmentation in RAS axes, labels 0-3.

    Raises CaseError if the case has none, if it cannot be read, or if it is on another grid. Its message begins with
    `case NAME: `.
    """
    with errors_of_case(files.name):
        volume = read_labels(files.one(_REFERENCE))
        same_grid(volume, case.grid)
    return np.asarray(to_ras(volume.array, volume.affine), dtype=np.uint8)


@contextmanager
def errors_of_case(name: str) -> Iterator[None]:
    """Every CaseError from inside begins with `case NAME: `; one that does so already is left as it is."""
    head = f"case {name}: "
    try:
        yield
    except CaseError as error:
        if str(error).startswith(head):
            raise
        raise CaseError(f"{head}{error}") from error


def same_grid(volume: Volume, wanted: Volume) -> None:
    """Raises CaseError unless both volumes have one shape, and affines equal to within 1e-3 mm an entry."""
    if volume.array.shape != wanted.array.shape:
        raise CaseError(
            f"{volume.path}: shape {volume.array.shape} differs from {wanted.array.shape} of {wanted.path.name}: "
            "register all images of a case to one grid"
        )
    difference = np.abs(volume.affine - wanted.affine).max()
    if difference > AFFINE_TOLERANCE_MM:
        raise CaseError(
            f"{volume.path}: affine differs by {difference:.4g} mm from that of {wanted.path.name} "
            f"(at most {AFFINE_TOLERANCE_MM} mm): register all images of a case to one grid"
        )


def has_voxels_of_1_mm(affine: Affine) -> bool:
    """Whether each edge is 1 mm to within 0.001 mm."""
    return all(abs(edge - 1) <= _SPACING_TOLERANCE_MM for edge in spacing_mm(affine))


def check_voxels(volume: Volume, *, is_any_spacing: bool = False) -> None:
    """Raises CaseError unless voxels are cubes of 1 mm, however they are turned; boxes do if `is_any_spacing`."""
    spacing = spacing_mm(volume.affine)
    for one, other in combinations(range(3), 2):
        cosine = float(volume.affine[:3, one] @ volume.affine[:3, other]) / (spacing[one] * spacing[other])
        if abs(cosine) > _COSINE_TOLERANCE:
            angle = math.degrees(math.acos(min(max(cosine, -1), 1)))
            raise CaseError(
                f"{volume.path}: voxel axes {'XYZ'[one]} and {'XYZ'[other]} stand at {angle:.4g} degrees, wanted 90: "
                "resample the case to a grid of right angles first"
            )
    if not is_any_spacing and not has_voxels_of_1_mm(volume.affine):
        seen = " x ".join(f"{edge:.4g}" for edge in spacing)
        raise CaseError(f"{volume.path}: voxels are {seen} mm, wanted 1 x 1 x 1 mm: resample the case to 1 mm first")


def _cases_below(folder: Path) -> list[CaseFiles]:
    cases = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link back up would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [Path(place, name) for name in sorted(names) if not name.startswith(".")]
        cases += _grouped([path for path in files if is_nifti(path) and _split(path) is not None])
    # a lone segmentation is no case: a folder of predictions may lie beside the cases
    return [case for case in cases if set(case.found) != {_REFERENCE}]


def _refuse(error: OSError) -> None:
    """For os.walk, which would pass over a folder that cannot be read."""
    raise CaseError(f"{error.filename}: cannot be read ({error.strerror}): check that you may read it") from error


def _grouped(paths: Sequence[Path]) -> list[CaseFiles]:
    """Files of one folder and one case name, together."""
    groups: dict[tuple[Path, str], dict[str, tuple[Path, ...]]] = {}
    for path in paths:
        split = _split(path)
        assert split is not None, path  # callers pass only files with a known last word
        name, kind = split
        found = groups.setdefault((path.parent, name), {})
        found[kind] = (*found.get(kind, ()), path)
    return [CaseFiles(name=name, folder=folder, found=found) for (folder, name), found in groups.items()]


def _split(path: Path) -> tuple[str, str] | None:
    """(case name, modality or "seg") by the file's name, or None if its last word is no known one."""
    match = _LAST_WORD.match(without_suffix(path))
    if match is None or match["word"].lower() not in _WORDS:
        return None
    return match["case"] or path.parent.resolve().name, _WORDS[match["word"].lower()]


def _add(cases: dict[str, CaseFiles], case: CaseFiles) -> None:
    known = cases.setdefault(case.name, case)
    if known.folder.resolve() != case.folder.resolve():
        raise CaseError(
            f"two cases are called {case.name}, in {known.folder} and {case.folder}: "
            "rename one, their results would collide"
        )
