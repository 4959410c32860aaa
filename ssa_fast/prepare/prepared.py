"""A prepared folder: its manifest, and the cases that can be mapped from it without being read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import CaseError, ConfigError
from ssa_fast.files import write_json
from ssa_fast.labels import MODALITIES
from ssa_fast.model.spec import PREPROCESSING
from ssa_fast.volume.case import CaseFiles, find_cases
from ssa_fast.volume.geometry import Box, LabelArray

__all__ = [
    "FORMAT",
    "KINDS",
    "LABELS_FILE",
    "MANIFEST",
    "PATCHES_FOLDER",
    "VOLUME_FILE",
    "Entry",
    "Manifest",
    "PatchSet",
    "PatchSettings",
    "PreparedCase",
    "SourceFile",
    "find_training_cases",
    "is_prepared",
    "prepared_cases",
    "read_manifest",
    "write_manifest",
]

FORMAT = 1
"""Of the manifest and the files that it names."""

MANIFEST = "manifest.json"
VOLUME_FILE = "volume.npy"
LABELS_FILE = "labels.npy"
PATCHES_FOLDER = "patches"
KINDS = (*MODALITIES, "seg")
"""Of the files that a case is prepared from."""

_OUTPUTS = (VOLUME_FILE, LABELS_FILE)
_KIND = "ssa-fast prepared cases"  # a manifest.json of another program is no folder of ours

HalfArray: TypeAlias = npt.NDArray[np.float16]
_Voxel = TypeVar("_Voxel", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that a case was prepared from."""

    file: str  # its name in the case's folder
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """How patches are cut: the original project took sixteen of 128^3 a case."""

    count: int = 16  # a case; fewer where its brain has fewer places for one
    seed: int = 0
    shape: tuple[int, int, int] = (128, 128, 128)  # voxels, X Y Z

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0 or min(self.shape) < 1:
            raise ConfigError(f"patches need a count of 1 or more and a seed of 0 or more, got {self}")


@dataclass(frozen=True, kw_only=True)
class PatchSet:
    """The patches of one case, as they were written."""

    settings: PatchSettings
    files: Mapping[str, str]  # name -> SHA-256


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One case of a prepared folder: what it was made from, how, and what it became."""

    source: str  # its folder, from where the manifest lies
    inputs: Mapping[str, SourceFile]  # modality or "seg" -> file
    shape: tuple[int, int, int]  # of the files, X Y Z
    affine: tuple[tuple[float, ...], ...]  # of the files, 4x4: voxel to mm
    ras_shape: tuple[int, int, int]  # of the same volume, turned to RAS
    box_start: tuple[int, int, int]  # where the brain lies in that
    box_stop: tuple[int, int, int]
    label_values: tuple[int, ...]  # as they stood in the reference
    label_mapping: Mapping[str, int]  # {"4": 3} for labels up to BraTS 2021
    label_voxels: Mapping[str, int]  # NCR ED ET -> voxels
    outputs: Mapping[str, str]  # volume.npy and labels.npy -> SHA-256
    patches: PatchSet | None = None

    def __post_init__(self) -> None:
        for what, known, wanted in (("inputs", self.inputs, KINDS), ("outputs", self.outputs, _OUTPUTS)):
            if set(known) != set(wanted):
                raise ConfigError(
                    f"'{what}' are {' '.join(sorted(known)) or 'none'}, wanted {' '.join(sorted(wanted))}"
                )

    @property
    def box(self) -> Box:
        """Where the prepared volume lies in the RAS volume of its files."""
        return Box(self.box_start, self.box_stop)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a prepared folder holds."""

    kind: str = _KIND
    format: int = FORMAT
    ssa_fast: str = ""  # version that wrote it last
    preprocessing: str = PREPROCESSING
    modalities: tuple[str, ...] = MODALITIES  # channel order
    patches: Mapping[str, PatchSettings] = field(default_factory=dict)  # as asked for: case -> settings
    cases: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def is_current(self) -> bool:
        """Whether this version of ssa-fast would prepare a case in the same way."""
        return (self.format, self.preprocessing, self.modalities) == (FORMAT, PREPROCESSING, MODALITIES)


@dataclass(frozen=True, kw_only=True)
class PreparedCase(CaseFiles):
    """A case of a prepared folder. Its source files are there for validation, if they are where they were."""

    entry: Entry
    prepared: Path  # folder with volume.npy and labels.npy

    def one(self, kind: str) -> Path:
        """The source file of a modality (or "seg"). Raises CaseError if it is not there any more."""
        path = super().one(kind)
        if not path.exists():
            raise CaseError(
                f"case {self.name}: was prepared from {path}, which is not there, and a held-out case is "
                "validated on its source: put it back, or train without --splits and --fold"
            )
        return path

    def arrays(self) -> tuple[HalfArray, LabelArray]:
        """The volume (C, X, Y, Z) and its labels (X, Y, Z), mapped from the disk: writing to them changes no file.

        Raises CaseError for files that are missing, cut off or of another shape. Their content is not checked:
        `verify` does that.
        """
        shape = self.entry.box.shape
        volume = _mapped(self.prepared / VOLUME_FILE, (len(MODALITIES), *shape), np.float16)
        return volume, _mapped(self.prepared / LABELS_FILE, shape, np.uint8)


def is_prepared(folder: Path) -> bool:
    """Whether `prepare` has written this folder."""
    try:
        content: Any = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == _KIND


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder, of whatever age.

    Raises CaseError if there is none, or it cannot be understood.
    """
    path = folder / MANIFEST
    remedy = "remove the folder and prepare the cases again"
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise CaseError(f"{path}: cannot be read ({error.strerror}): name a folder that prepare has written") from error
    except ValueError as error:
        raise CaseError(f"{path}: not JSON ({error}): {remedy}") from error
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise CaseError(f"{path}: was not written by ssa-fast prepare: name another folder")
    if content.get("format") != FORMAT:
        raise CaseError(f"{path}: is of format {content.get('format')}, this version reads {FORMAT}: {remedy}")
    try:
        manifest = from_mapping(Manifest, content, where=str(path))
    except ConfigError as error:
        raise CaseError(f"{error}: {remedy}") from error
    odd = [name for name in manifest.cases if name in {"", ".", ".."} or Path(name).name != name]
    if odd:
        raise CaseError(f"{path}: a case is called '{odd[0]}', which is no folder's name: {remedy}")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    write_json(folder / MANIFEST, to_mapping(manifest))


def prepared_cases(folder: Path) -> list[PreparedCase]:
    """Every case of a prepared folder, sorted by name; nothing but the manifest is read.

    Raises CaseError if there is none, or they were prepared in another way than this version does.
    """
    manifest = read_manifest(folder)
    if not manifest.is_current:
        raise CaseError(
            f"{folder}: was prepared as '{manifest.preprocessing}', not as this version does: prepare again"
        )
    if not manifest.cases:
        raise CaseError(f"{folder}: holds no prepared case: run ssa-fast prepare into it")
    return [_prepared_case(folder, name, manifest.cases[name]) for name in sorted(manifest.cases)]


def find_training_cases(paths: Iterable[Path]) -> list[CaseFiles]:
    """Every case in the paths, prepared folders among them; sorted by name.

    Raises CaseError like `find_cases` and `prepared_cases`, and if a case is there twice.
    """
    given = list(paths)
    folders = [path for path in given if is_prepared(path)]
    others = [path for path in given if path not in folders]
    cases: list[CaseFiles] = _find_named(others) if others else []
    for folder in folders:
        known = {files.name: files for files in cases}
        for case in prepared_cases(folder):
            if case.name in known:
                raise CaseError(f"two cases are called {case.name}, one of them prepared in {folder}: give it once")
            cases.append(case)
    return sorted(cases, key=lambda files: files.name)


def _find_named(paths: Iterable[Path]) -> list[CaseFiles]:
    """As `find_cases`, whose advice where there is no case is for `infer`: options that training does not have."""
    try:
        return find_cases(paths)
    except CaseError as error:
        if "--t1n" not in str(error):
            raise
        where, _, _ = str(error).partition(": ")
        raise CaseError(
            f"{where}: no case found: wanted files like CASE-t1n.nii.gz, -t1c, -t2w, -t2f and -seg, or a folder that "
            "'ssa-fast prepare' wrote"
        ) from error


def _prepared_case(folder: Path, name: str, entry: Entry) -> PreparedCase:
    source = Path(os.path.normpath(folder.resolve() / entry.source))
    found = {kind: (source / file.file,) for kind, file in entry.inputs.items()}
    return PreparedCase(name=name, folder=source, found=found, entry=entry, prepared=folder / name)


def _mapped(path: Path, shape: tuple[int, ...], dtype: type[_Voxel]) -> npt.NDArray[_Voxel]:
    remedy = "run ssa-fast prepare again, which makes what is damaged anew"
    try:
        array: npt.NDArray[_Voxel] = np.load(path, mmap_mode="c")  # "c": torch takes only what may be written
    except (OSError, ValueError, EOFError) as error:
        raise CaseError(f"{path}: cannot be mapped ({' '.join(str(error).split())}): {remedy}") from error
    if array.shape != shape or array.dtype != dtype:
        raise CaseError(f"{path}: holds {array.dtype} of {array.shape}, wanted {np.dtype(dtype)} of {shape}: {remedy}")
    return array
