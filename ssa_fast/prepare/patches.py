"""Patches on the disk, in the form of the original project: CASE_patch_N.npz with an image and its label."""

from __future__ import annotations

import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ssa_fast.files import sha256, write_whole
from ssa_fast.labels import LABELS
from ssa_fast.prepare.prepared import PatchSettings
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["IMAGE", "LABEL", "PATCH_NAME", "cut_box", "cut_patches", "patch_content", "remove_patches", "write_patches"]

_Scalar = TypeVar("_Scalar", bound=np.generic)

IMAGE, LABEL = "image", "label"
"""Arrays of a patch: (C, X, Y, Z) float32, z-scored over its case's brain, and (X, Y, Z) uint8."""

PATCH_NAME = re.compile(r"(?P<case>.+)_patch_(?P<number>\d+)\.npz")
_JITTER = 0.25  # of an edge: a patch shows its tumour anywhere in the middle half, where it can
_TRIES = 50  # a patch: where brains are small, places are few and draws repeat
_WRITERS = 2  # threads: zlib lets go of the interpreter lock, and a small machine has two cores
_COMPRESSION = 1  # of 9: a third of the time of the usual 6, for files a tenth larger
_TIME = (1980, 1, 1, 0, 0, 0)  # none: equal patches are equal files


def write_patches(
    folder: Path, case: str, volume: npt.NDArray[np.float16], labels: LabelArray, settings: PatchSettings
) -> dict[str, str]:
    """Write the patches of one case as CASE_patch_N.npz, N from 0; returns the SHA-256 of each file.

    Patches of the case that lie there are removed first: they may be of other settings.
    """
    remove_patches(folder, case)

    def write(number: int, start: tuple[int, int, int]) -> tuple[str, str]:
        image = cut_box(volume, start, settings.shape).astype(np.float32)
        content = patch_content(image, cut_box(labels[np.newaxis], start, settings.shape)[0])
        name = f"{case}_patch_{number}.npz"
        write_whole(folder / name, content)
        return name, sha256(content)

    with ThreadPoolExecutor(_WRITERS) as writers:
        return dict(writers.map(write, itertools.count(), cut_patches(case, volume, labels, settings)))


def remove_patches(folder: Path, case: str) -> None:
    """Remove every patch of one case, also half-written ones."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        match = PATCH_NAME.match(path.name.removeprefix("."))
        if match and match["case"] == case and (path.suffix == ".partial" or match.end() == len(path.name)):
            path.unlink()


def cut_patches(
    case: str, volume: npt.NDArray[np.float16], labels: LabelArray, settings: PatchSettings
) -> Iterator[tuple[int, int, int]]:
    """Where patches of (C, X, Y, Z) start, each at a place of its own: at most `settings.count`.

    Each holds tumour, a label chosen evenly among those that the case has; brain, where there is no tumour. An axis
    shorter than a patch is shown whole, in the middle. The places depend on the case, its name and the seed alone.
    """
    rng = np.random.default_rng([settings.seed, zlib.crc32(case.encode())])
    brain = (np.asarray(volume) != 0).any(axis=0)
    groups = [places for label in LABELS if len(places := np.argwhere(labels == label))] or [np.argwhere(brain)]
    edges, room = np.array(settings.shape), np.array(labels.shape) - np.array(settings.shape)
    most = min(settings.count, int(np.prod(np.maximum(room, 0) + 1)))
    seen: set[tuple[int, int, int]] = set()
    for _ in range(_TRIES * settings.count):
        if len(seen) == most:
            return
        group = groups[int(rng.integers(len(groups)))]
        center = group[int(rng.integers(len(group)))] + rng.uniform(-_JITTER, _JITTER, 3) * edges
        start = np.where(room > 0, np.clip(np.round(center - edges / 2), 0, np.maximum(room, 0)), room // 2)
        x, y, z = (int(edge) for edge in start)
        if (x, y, z) not in seen and cut_box(brain[np.newaxis], (x, y, z), settings.shape).any():
            seen.add((x, y, z))
            yield x, y, z


def patch_content(image: FloatArray, label: LabelArray) -> bytes:
    """The bytes of one npz; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in ((IMAGE, image), (LABEL, label)):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_TIME)
            archive.writestr(info, member.getvalue(), zipfile.ZIP_DEFLATED, _COMPRESSION)
    return buffer.getvalue()


def cut_box(array: npt.NDArray[_Scalar], start: Sequence[int], shape: Sequence[int]) -> npt.NDArray[_Scalar]:
    """A copy of the box of (C, X, Y, Z) at `start`, zero where it reaches beyond the array."""
    cut = np.zeros((len(array), *shape), dtype=array.dtype)
    source, target = [slice(None)], [slice(None)]
    for begin, edge, limit in zip(start, shape, array.shape[1:], strict=True):
        low, high = max(begin, 0), min(begin + edge, limit)
        if low >= high:
            return cut
        source.append(slice(low, high))
        target.append(slice(low - begin, high - begin))
    cut[tuple(target)] = array[tuple(source)]
    return cut
