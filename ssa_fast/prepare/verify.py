"""Prepared volumes and patches looked through from end to end: what training would not notice."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import CaseError
from ssa_fast.files import sha256
from ssa_fast.labels import LABEL_NAMES, MODALITIES
from ssa_fast.prepare.patches import IMAGE, LABEL, PATCH_NAME
from ssa_fast.prepare.prepared import (
    LABELS_FILE,
    PATCHES_FOLDER,
    VOLUME_FILE,
    PatchSettings,
    PreparedCase,
    is_prepared,
    prepared_cases,
    read_manifest,
)
from ssa_fast.prepare.problems import Problem, tumor_outside

__all__ = ["Verified", "verify_folder"]

_MOST_DEVIATIONS = 60  # from the brain's mean: 12.3 is the most in fifteen BraTS-SSA cases
_MEAN_TOLERANCE, _DEVIATION_TOLERANCE = 0.01, 0.01  # float16 is off by 0.0005 at most
_AGAIN = "run ssa-fast prepare again, which makes what is damaged anew"
_READ_ERRORS = (OSError, ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was looked at of one case, and what is wrong with it."""

    name: str
    volumes: int
    patches: int
    problems: tuple[Problem, ...]


def verify_folder(folder: Path) -> Iterator[Verified]:
    """Check every case of a prepared folder with its patches, or every patch in a folder of `CASE_patch_N.npz`.

    Checked are fingerprints (where there is a manifest; also of the source files that are still there), shapes, types,
    values (finite, z-scored), labels (0-3, over the brain), that each holds brain in every modality, that no two hold
    the same voxels, and that the manifest knows of each.

    Raises CaseError if the folder is of neither kind, or its manifest cannot be used.
    """
    seen: dict[str, str] = {}  # fingerprint of voxels -> who had them first
    if is_prepared(folder):
        cases, asked = prepared_cases(folder), read_manifest(folder).patches
        for case in cases:
            problems = [*_source_problems(case), *_volume_problems(case, seen)]
            problems += _patch_set_problems(folder, case, asked.get(case.name), seen)
            count = len(case.entry.patches.files) if case.entry.patches else 0
            yield Verified(name=case.name, volumes=1, patches=count, problems=tuple(problems))
        yield from _strangers(folder, cases)
        return
    paths = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    if not paths:
        raise CaseError(f"{folder}: neither a prepared folder nor one of CASE_patch_N.npz: name one of the two")
    groups: dict[str, list[Path]] = {}
    for path in paths:
        match = PATCH_NAME.fullmatch(path.name)
        groups.setdefault(match["case"] if match else path.stem, []).append(path)
    for name, files in groups.items():
        problems = [problem for path in files for problem in _patch_problems(path, name, PatchSettings().shape, seen)]
        yield Verified(name=name, volumes=0, patches=len(files), problems=tuple(problems))


def _source_problems(case: PreparedCase) -> Iterator[Problem]:
    """Source files that are not what they were: training and validation would see two states of one case."""
    for kind, file in case.entry.inputs.items():
        for path in case.found[kind]:
            try:
                content = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                continue  # it may be on another machine
            except OSError as error:
                remedy = "check that it is a file you may read"
                yield Problem(case=case.name, file=file.file, seen=_unreadable(error), remedy=remedy)
                continue
            if sha256(content) != file.sha256:
                seen = "changed after the case was prepared"
                yield Problem(case=case.name, file=file.file, seen=seen, remedy="run ssa-fast prepare again")


def _volume_problems(case: PreparedCase, seen: dict[str, str]) -> list[Problem]:
    problems = []
    for file, known in case.entry.outputs.items():
        path = case.prepared / file
        try:
            found = sha256(path.read_bytes())
        except OSError as error:
            problems.append(Problem(case=case.name, file=file, seen=_unreadable(error), remedy=_AGAIN))
            continue
        if found != known:
            flaw = _other_fingerprint(found, known)
            problems.append(Problem(case=case.name, file=file, seen=flaw, remedy=_AGAIN))
    if problems:
        return problems
    try:
        volume, labels = case.arrays()
    except CaseError as error:
        return [Problem.of_error(case.name, VOLUME_FILE, error)]
    flaws = {VOLUME_FILE: [*_image_flaws(volume), *_spread_flaws(volume)], LABELS_FILE: _label_flaws(volume, labels)}
    counts = np.bincount(np.asarray(labels).ravel(), minlength=1 + max(LABEL_NAMES))
    if any(counts[label] != case.entry.label_voxels.get(name) for label, name in LABEL_NAMES.items()):
        flaws[LABELS_FILE].append("the manifest counts other labels")
    flaws[VOLUME_FILE] += _repeats({f"{m} of case {case.name}": volume[i] for i, m in enumerate(MODALITIES)}, seen)
    return [Problem(case=case.name, file=file, seen=flaw, remedy=_AGAIN) for file in flaws for flaw in flaws[file]]


def _patch_set_problems(
    folder: Path, case: PreparedCase, asked: PatchSettings | None, seen: dict[str, str]
) -> list[Problem]:
    patches = case.entry.patches
    if (asked and (patches is None or patches.settings != asked)) or (patches and not patches.files):
        unfinished = "were asked for and are not all written"
        return [Problem(case=case.name, file=PATCHES_FOLDER, seen=unfinished, remedy=_AGAIN)]
    if patches is None:
        return []
    problems = []
    for file, known in patches.files.items():
        problems += _patch_problems(folder / PATCHES_FOLDER / file, case.name, patches.settings.shape, seen, known)
    return problems


def _patch_problems(
    path: Path, case: str, shape: tuple[int, int, int], seen: dict[str, str], known: str | None = None
) -> list[Problem]:
    """What is wrong with one npz; `known` is its SHA-256 where a manifest has it."""
    remedy = "make the patch again" if known is None else _AGAIN
    flaws = _patch_flaws(path, shape, seen, known)
    return [Problem(case=case, file=path.name, seen=flaw, remedy=remedy) for flaw in flaws]


def _patch_flaws(path: Path, shape: tuple[int, int, int], seen: dict[str, str], known: str | None) -> list[str]:
    try:
        content = path.read_bytes()
        if known is not None and (found := sha256(content)) != known:
            return [_other_fingerprint(found, known)]
        loaded = np.load(io.BytesIO(content))
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return ["cannot be read (one array without a name, no npz)"]
        with loaded as arrays:
            if set(arrays.files) != {IMAGE, LABEL}:
                return [f"holds {', '.join(sorted(arrays.files)) or 'nothing'}, wanted {IMAGE} and {LABEL}"]
            image, label = arrays[IMAGE], arrays[LABEL]
    except _READ_ERRORS as error:
        return [_unreadable(error)]
    if flaws := _form_flaws(image, label, shape):
        return flaws
    is_part = known is not None  # the limits are of a case, and here its volume is held to them
    flaws = [*_image_flaws(image, is_part=is_part), *_label_flaws(image, label, is_part=is_part)]
    return [*flaws, *_repeats({path.name: image}, seen)]


def _unreadable(error: Exception) -> str:
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"cannot be read ({' '.join(words.split()) or type(error).__name__})"


def _other_fingerprint(found: str, known: str) -> str:
    return f"its SHA-256 begins with {found[:8]}, that in the manifest with {known[:8]}"


def _form_flaws(
    image: npt.NDArray[np.generic], label: npt.NDArray[np.generic], shape: tuple[int, int, int]
) -> list[str]:
    wanted = {IMAGE: (np.float32, (len(MODALITIES), *shape), image), LABEL: (np.uint8, shape, label)}
    return [
        f"{name} is {array.dtype} of {array.shape}, wanted {np.dtype(dtype)} of {edges}"
        for name, (dtype, edges, array) in wanted.items()
        if array.dtype != dtype or array.shape != edges
    ]


def _image_flaws(image: npt.NDArray[np.floating], *, is_part: bool = False) -> list[str]:
    """What cannot be so in z-scored images (C, X, Y, Z) with zeros around the brain.

    A part of a case may lie where one modality was cut off; of the case as a whole that is known elsewhere.
    """
    if not np.isfinite(image).all():
        return ["holds NaN or infinity"]
    if not image.any():
        return ["holds no brain: every voxel is zero"]
    flaws = []
    for modality, channel in zip(MODALITIES, image, strict=True):
        if not is_part and not channel.any():
            flaws.append(f"every voxel of {modality} is zero")
        if (reach := float(max(channel.max(), -channel.min()))) > _MOST_DEVIATIONS:
            flaws.append(f"{modality} reaches {reach:g}, wanted a z-score of at most {_MOST_DEVIATIONS}")
    return flaws


def _spread_flaws(volume: npt.NDArray[np.floating]) -> list[str]:
    """Whether each modality has mean 0 and deviation 1 over its brain, as only a whole brain has."""
    flaws = []
    for modality, channel in zip(MODALITIES, volume, strict=True):
        values = channel[channel != 0].astype(np.float64)
        if not len(values) or not np.isfinite(values).all():
            continue  # said already
        mean, deviation = values.mean(), values.std()
        if abs(mean) > _MEAN_TOLERANCE or abs(deviation - 1) > _DEVIATION_TOLERANCE:
            flaws.append(f"{modality} has mean {mean:.3f} and deviation {deviation:.3f} over the brain, wanted 0 and 1")
    return flaws


def _label_flaws(image: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8], *, is_part: bool = False) -> list[str]:
    counts = np.bincount(np.asarray(labels).ravel(), minlength=1)
    odd = [str(value) for value in np.flatnonzero(counts) if value > max(LABEL_NAMES)]
    flaws = [f"holds label {', '.join(odd)}, wanted 0 to {max(LABEL_NAMES)}"] if odd else []
    if not is_part and (seen := tumor_outside(np.asarray(labels), (np.asarray(image) != 0).any(axis=0))):
        flaws.append(seen)
    return flaws


def _repeats(arrays: Mapping[str, npt.NDArray[np.generic]], seen: dict[str, str]) -> list[str]:
    """Which of the arrays hold the voxels of one that was seen before; all are then seen."""
    flaws = []
    for name, array in arrays.items():
        first = seen.setdefault(sha256(np.ascontiguousarray(array).tobytes()), name)
        if first != name:
            flaws.append(f"{name} has the same voxels as {first}")
    return flaws


def _strangers(folder: Path, cases: Sequence[PreparedCase]) -> Iterator[Verified]:
    """What lies in a prepared folder and is in no manifest, such as patches of a case that was refused since."""
    known = {case.name for case in cases}
    remedy = "remove it, or prepare its case again"
    for place in sorted(folder.iterdir()):
        if place.name not in known and any((place / file).exists() for file in (VOLUME_FILE, LABELS_FILE)):
            problem = Problem(case=place.name, file="", seen="lies there but is not in the manifest", remedy=remedy)
            yield Verified(name=place.name, volumes=0, patches=0, problems=(problem,))
    listed = {file for case in cases if case.entry.patches for file in case.entry.patches.files}
    groups: dict[str, list[str]] = {}
    patches = folder / PATCHES_FOLDER
    for path in sorted(patches.iterdir()) if patches.is_dir() else []:
        if path.suffix == ".npz" and path.name not in listed:
            match = PATCH_NAME.fullmatch(path.name)
            groups.setdefault(match["case"] if match else path.stem, []).append(path.name)
    for name, files in groups.items():
        seen = "lies there but is not in the manifest"
        problems = tuple(Problem(case=name, file=file, seen=seen, remedy=remedy) for file in files)
        yield Verified(name=name, volumes=0, patches=0, problems=problems)
