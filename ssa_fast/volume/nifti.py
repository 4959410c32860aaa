"""NIfTI files in and out: one volume a file, checked when it is read."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import nibabel
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib

from ssa_fast.errors import CaseError, ShapeError
from ssa_fast.files import open_whole, sha256, write_whole
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = [
    "SUFFIXES",
    "MapType",
    "Volume",
    "as_labels",
    "is_nifti",
    "read_labels",
    "read_volume",
    "without_suffix",
    "write_labels",
    "write_maps",
]

SUFFIXES = (".nii.gz", ".nii")
Header: TypeAlias = nibabel.Nifti1Header  # Nifti2Header inherits from it
MapType: TypeAlias = Literal["uint8", "float32"]
"""How a map's values from 0 to 1 are stored."""

_STEPS = 255  # of a value from 0 to 1 in uint8
_HEADER_ERROR = 40  # nibabel's grade of a fault that has no mending
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 16 + isal_zlib.MAX_WBITS  # 16: gzip's header and checksum
_BYTE_ORDERS = ("<i4", ">i4")
_log = logging.getLogger(__name__)
_GZIP_ERRORS = (OSError, cast(type[Exception], isal_zlib.IsalError))  # its stub types the class as an instance


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One 3-D image: voxels in the axes of the file, the voxel-to-mm affine, its header without extensions."""

    path: Path
    array: npt.NDArray[np.generic]  # (X, Y, Z), Fortran order as on disk; a scaled file comes as float
    affine: npt.NDArray[np.float64]
    header: Header

    def without_voxels(self) -> Volume:
        """The same file, shape, affine and header; all voxels are 0, read-only, and take no memory."""
        return replace(self, array=np.broadcast_to(np.zeros((), dtype=self.array.dtype), self.array.shape))


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file."""
    return path.name.lower().endswith(SUFFIXES)


def without_suffix(path: Path) -> str:
    """The file's name without `.nii` or `.nii.gz`."""
    name = path.name
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def read_volume(path: Path) -> Volume:
    """The volume in a `.nii` or `.nii.gz` file, NIfTI-1 or NIfTI-2, either byte order.

    A fourth axis of length 1, as some converters leave it, is dropped. gzip is read by ISA-L in one piece: two to
    three times as fast as nibabel through zlib.
    Raises CaseError if the file is absent, empty, cut off, no NIfTI, not one volume, or holds NaN or infinity.
    """
    content = _decompressed(path)
    header_class = _header_class(path, content)
    try:
        with np.errstate(all="ignore"):  # a header of noise; what comes of it is checked below
            header = header_class(content[: header_class.template_dtype.itemsize], check=False)
            header.check_fix(logger=_HeaderNotes(path), error_level=_HEADER_ERROR)
            affine = np.asarray(header.get_best_affine(), dtype=np.float64)
            has_places = bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-6)
            array = _voxels(header, content)
    except (OSError, ValueError, OverflowError, nibabel.spatialimages.HeaderDataError) as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise CaseError(f"{path}: damaged or cut-off NIfTI file ({detail}): copy or convert it again") from error
    if array is None:
        raise CaseError(
            f"{path}: shape is {header.get_data_shape()}, wanted one 3-D volume: split the series, one volume a file"
        )
    if array.dtype.kind not in "iuf":
        raise CaseError(f"{path}: voxels are {array.dtype}, wanted real numbers: convert the file to float32 or int16")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise CaseError(
            f"{path}: {bad} of {array.size} voxels are NaN or infinite: mend them in the export or preparation"
        )
    if not has_places:
        raise CaseError(f"{path}: the affine has no inverse, so no voxel has a place: mend the header's qform or sform")
    return Volume(path=path, array=array, affine=affine, header=header)


def read_labels(path: Path) -> Volume:
    """A reference or predicted segmentation with labels 0-3 as uint8; 4, enhancing tumour up to BraTS 2021, becomes 3.

    Raises CaseError like `read_volume`, and for values that are no BraTS labels.
    """
    return as_labels(read_volume(path))


def as_labels(volume: Volume) -> Volume:
    """A volume of BraTS labels, of either age, with labels 0-3 as uint8. Raises CaseError for other values."""
    with np.errstate(invalid="ignore"):  # a value that fits no uint8 is found by the comparison
        labels = volume.array.astype(np.uint8)
    is_old = bool((labels == 4).any())
    if labels.max() > 4 or (is_old and (labels == 3).any()) or not np.array_equal(labels, volume.array):
        seen = ", ".join(f"{value:g}" for value in np.unique(volume.array)[:8])
        raise CaseError(f"{volume.path}: label values are {seen}: wanted 0 1 2 3 (BraTS 2023) or 0 1 2 4 (up to 2021)")
    if is_old:
        labels[labels == 4] = 3
    return Volume(path=volume.path, array=labels, affine=volume.affine, header=volume.header)


def write_labels(path: Path, labels: LabelArray, like: Volume) -> str:
    """Write (X, Y, Z) labels as uint8 on the grid of `like`: its shape, affine, orientation and header codes.

    The file appears whole or not at all, and equal labels give equal bytes, whose SHA-256 comes back. Header
    extensions and free text are left out, for they may hold a patient's name.
    Raises ShapeError if labels and `like` have unlike shapes, OSError if the file cannot be written.
    """
    if labels.shape != like.array.shape:
        raise ShapeError(f"{path}: labels of shape {labels.shape}, wanted {like.array.shape} of {like.path.name}")
    header = _own_header(like, b"segmentation by ssa-fast")
    header.set_data_dtype(np.uint8)
    image_class: Any = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    content: bytes = image_class(labels, like.affine, header).to_bytes()
    is_compressed = path.name.lower().endswith(".gz")
    content = igzip.compress(content, mtime=0) if is_compressed else content
    write_whole(path, content)
    return sha256(content)


def write_maps(path: Path, maps: Sequence[Callable[[], FloatArray]], like: Volume, kind: MapType = "uint8") -> None:
    """Write maps of values from 0 to 1, each (X, Y, Z), on the grid of `like`; of several, the fourth axis is which.

    `uint8` stores whole 255ths, as the header's slope says, so no value is off by more than 0.002. One map is made,
    written and let go at a time. What `write_labels` says of files and headers holds here, too.
    Raises ShapeError if a map and `like` have unlike shapes, OSError if the file cannot be written.
    """
    header = _own_header(like, b"map by ssa-fast")
    header.set_data_dtype(np.dtype(kind))
    header.set_data_shape(like.array.shape if len(maps) == 1 else (*like.array.shape, len(maps)))
    header["pixdim"][4:] = 1
    header["magic"] = header.single_magic
    header.set_data_offset(header.single_vox_offset)
    header.set_slope_inter(1 / _STEPS if kind == "uint8" else 1, 0)
    dtype = header.get_data_dtype()  # in the byte order of the header
    is_compressed = path.name.lower().endswith(".gz")
    with ExitStack() as files:
        file: BinaryIO | igzip.IGzipFile = files.enter_context(open_whole(path))
        if is_compressed:  # an empty name, for the partial file's would make unlike bytes
            file = files.enter_context(igzip.IGzipFile(filename="", mode="wb", fileobj=file, mtime=0))
        file.write(header.binaryblock.ljust(int(header.single_vox_offset), b"\0"))
        for make in maps:
            values = make()
            if values.shape != like.array.shape:
                raise ShapeError(
                    f"{path}: a map of shape {values.shape}, wanted {like.array.shape} of {like.path.name}"
                )
            for plane in np.moveaxis(values, 2, 0):  # on disk X runs fastest, then Y
                stored = np.rint(plane * _STEPS) if kind == "uint8" else plane
                file.write(stored.astype(dtype).tobytes(order="F"))


def _own_header(like: Volume, words: bytes) -> Header:
    """The header of `like` for voxels of ours: its grid, without extensions and free text."""
    header: Header = like.header.copy()
    header["cal_max"] = header["cal_min"] = 0
    for free_text in ("aux_file", "db_name", "data_type", "intent_name"):
        if free_text in header:  # NIfTI-2 has fewer
            header[free_text] = b""
    header["descrip"] = words
    header["vox_offset"] = 0  # nibabel finds the place: right after the header
    header.extensions.clear()
    return header


def _decompressed(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        is_dangling = path.is_symlink() and not path.exists()
        remedy = (
            f"it is a link to {path.readlink()}: fetch that" if is_dangling else "check that it is a file you may read"
        )
        raise CaseError(f"{path}: cannot be read ({error.strerror}): {remedy}") from error
    if not content:
        raise CaseError(f"{path}: the file is empty (0 bytes): copy it again")
    if not path.name.lower().endswith(".gz"):
        return content
    if not content.startswith(_GZIP_MAGIC):
        raise CaseError(f"{path}: not a gzip file (it begins with {content[:4]!r}): copy it again, or name it .nii")
    plain: bytes
    try:
        member = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
        plain = member.decompress(content)
        if not member.eof or member.unused_data:
            plain = igzip.decompress(content)  # further members, and errors; it has parts and whole in memory at once
    except (EOFError, *_GZIP_ERRORS) as error:
        if foreign := _foreign_bytes(content):
            seen = f"{foreign} foreign bytes follow the gzip stream"
        elif isinstance(error, EOFError):
            seen = f"the gzip stream is cut off after {len(content)} bytes"
        else:
            seen = f"the gzip stream is damaged ({error})"
        raise CaseError(f"{path}: {seen}: copy it again") from error
    return plain


def _foreign_bytes(content: bytes) -> int:
    """How many bytes follow whole gzip members without beginning another; 0 if a member is itself damaged."""
    while content.startswith(_GZIP_MAGIC):
        member = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
        try:
            member.decompress(content)
        except _GZIP_ERRORS:
            return 0
        if not member.eof:
            return 0
        content = member.unused_data
    return len(content)


def _header_class(path: Path, content: bytes) -> type[Header]:
    sizes = {int(np.frombuffer(content[:4], dtype=order)[0]) for order in _BYTE_ORDERS if len(content) >= 4}
    for header_class in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if (size := header_class.template_dtype.itemsize) in sizes and len(content) >= size:
            return header_class
    raise CaseError(f"{path}: not a NIfTI file (it begins with {content[:4]!r}): convert it, with dcm2niix for example")


def _voxels(header: Header, content: bytes) -> npt.NDArray[np.generic] | None:
    """The voxels (X, Y, Z), scaled as the header says, or None if there is not just one volume.

    Unscaled ones are a view of `content`: a copy takes a third as long as decompressing them does. Raises OSError if
    they are not all there.
    """
    shape = header.get_data_shape()
    proxy = nibabel.arrayproxy.ArrayProxy(io.BytesIO(content), header, mmap=False)
    needed = proxy.offset + math.prod(shape) * proxy.dtype.itemsize
    if needed > len(content):  # before memory is asked for: a damaged header may claim terabytes
        raise OSError(f"{len(content)} of {needed} bytes")
    if len(shape) < 3 or 0 in shape or math.prod(shape[3:]) != 1:
        return None
    array: npt.NDArray[np.generic]
    if (proxy.slope, proxy.inter) == (1, 0):
        array = np.ndarray(shape[:3], proxy.dtype, content, proxy.offset, order="F")
    else:
        array = np.asanyarray(proxy).reshape(shape[:3], order="F")  # a view
    return array


class _HeaderNotes:
    """What nibabel notes as it checks a header, logged with the file's name; what it then raises it need not say."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, level: int, message: str) -> None:
        if 0 < level < _HEADER_ERROR:
            _log.log(level // 10 * 10, "%s: %s", self._path, message)
