"""The bundle: one ONNX file that describes itself, read here without torch and without the onnx package.

ONNX is a protocol-buffers message. What a backend needs beside the graph are two of its fields: `metadata_props`,
which hold the `ModelSpec`, the parity record and a checksum of everything before it, and the initializers, from which
the torch backend takes its weights.
Source of the field numbers: onnx.proto of ONNX 1.22.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from ssa_fast.config import from_mapping
from ssa_fast.errors import BundleError, ConfigError
from ssa_fast.files import sha256
from ssa_fast.model.parity import Parity
from ssa_fast.model.spec import ModelSpec

__all__ = ["ARITHMETIC", "CHECKSUM", "PARITY", "SPEC", "Arithmetic", "Bundle", "read_bundle", "sealed"]

SPEC, PARITY, ARITHMETIC = "ssa_fast.spec", "ssa_fast.parity", "ssa_fast.arithmetic"
"""Keys of a bundle's metadata."""

CHECKSUM = "ssa_fast.sha256"
"""Key of the last entry of a bundle's metadata, which ends the file: the SHA-256 of all bytes before that entry."""

Arithmetic: TypeAlias = Literal["float32", "float16", "int8"]
"""What the graph itself computes in; int8: its quantized layers, the others in float32 or what the engine takes."""

_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_GRAPH_INITIALIZER = 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_DTYPES: Mapping[int, np.dtype[np.floating[Any]]] = {
    1: np.dtype("<f4"),
    10: np.dtype("<f2"),
}  # the two that weights are stored in
_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES = 0, 1, 2, 5  # wire types


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle in memory: the bytes that every engine loads, and what they say of themselves."""

    path: Path
    content: bytes
    spec: ModelSpec
    parity: Parity | None  # how it was held against its reference; None: not yet
    arithmetic: Arithmetic = "float32"

    @property
    def sha256(self) -> str:
        """Fingerprint of the file."""
        return sha256(self.content)

    @property
    def has_checksum(self) -> bool:
        """Whether it ends in the checksum of the rest, as every bundle that is written does."""
        return _is_sealed(self.content)

    def weights(self) -> dict[str, npt.NDArray[np.floating[Any]]]:
        """The initializers by their state-dict names, as stored (float32 or float16).

        Raises BundleError if one is stored in another form.
        """
        graph = next(value for number, value in _fields(self.content) if number == _MODEL_GRAPH)
        assert isinstance(graph, memoryview)  # read_bundle has seen it
        return dict(_initializer(value, self.path) for number, value in _fields(graph) if number == _GRAPH_INITIALIZER)


def read_bundle(path: Path, *, is_unsealed_allowed: bool = False) -> Bundle:
    """The bundle in a file.

    Raises BundleError if the file cannot be read, is damaged, is an ONNX file of another program, or has no parity
    record or no checksum; the last may be allowed, for bundles from before there was one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    entries = _metadata(content, path)
    _check_seal(content, entries, path, is_unsealed_allowed=is_unsealed_allowed)
    if SPEC not in entries:
        raise BundleError(f"{path}: no bundle of ssa-fast (it holds no '{SPEC}'): make one with 'ssa-fast export'")
    if PARITY not in entries:
        raise BundleError(f"{path}: was never proven equal to its checkpoint: export it again with 'ssa-fast export'")
    spec = ModelSpec.from_json(entries[SPEC], where=str(path))
    try:
        parity = from_mapping(Parity, json.loads(entries[PARITY]))
    except (json.JSONDecodeError, ConfigError) as error:
        raise BundleError(f"{path}: its parity record is damaged ({error}): export it again") from error
    arithmetic = entries.get(ARITHMETIC, "float32")
    if arithmetic not in get_args(Arithmetic):
        raise BundleError(f"{path}: computes in {arithmetic}, which this version of ssa-fast does not know: update it")
    return Bundle(path=path, content=content, spec=spec, parity=parity, arithmetic=cast(Arithmetic, arithmetic))


def sealed(content: bytes) -> bytes:
    """The bytes of a bundle with their checksum at the end, in a form that ONNX reads as one more entry of metadata."""
    return content + _seal(content)


def _seal(content: bytes | memoryview) -> bytes:
    """The field of the model that holds the checksum of `content`; a length is one byte, for all are below 128."""
    entry = b""
    for number, text in ((_ENTRY_KEY, CHECKSUM), (_ENTRY_VALUE, sha256(content))):
        entry += bytes([number << 3 | _DELIMITED, len(text)]) + text.encode()
    return bytes([_MODEL_METADATA << 3 | _DELIMITED, len(entry)]) + entry


_SEAL_BYTES = len(_seal(b""))


def _metadata(content: bytes, path: Path) -> dict[str, str]:
    """The entries of an ONNX file's metadata. Raises BundleError if it is none, or has no graph."""
    try:
        parts = list(_fields(content))
        entries = dict(_entry(value) for number, value in parts if number == _MODEL_METADATA)
    except (IndexError, ValueError) as error:
        raise BundleError(f"{path}: not an ONNX file, or damaged: copy it again ({len(content)} bytes)") from error
    if not any(number == _MODEL_GRAPH and isinstance(value, memoryview) for number, value in parts):
        raise BundleError(f"{path}: not an ONNX file, or damaged: it holds no graph ({len(content)} bytes)")
    return entries


def _is_sealed(content: bytes) -> bool:
    return content.endswith(_seal(memoryview(content)[:-_SEAL_BYTES]))


def _check_seal(content: bytes, entries: Mapping[str, str], path: Path, *, is_unsealed_allowed: bool) -> None:
    """Raises BundleError for a bundle that does not end in the checksum of the rest; to have none may be allowed."""
    if _is_sealed(content):
        return
    if CHECKSUM in entries:
        raise BundleError(f"{path}: is damaged (its content does not have its checksum): copy it again")
    if SPEC in entries and not is_unsealed_allowed:
        raise BundleError(
            f"{path}: has no checksum: it is damaged, or of an early version of ssa-fast, and 'ssa-fast export {path} "
            "--out NEW.onnx' then gives it one"
        )


def _fields(message: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of a message, one level deep; a nested message or string comes as a view of its bytes."""
    view, place = memoryview(message), 0
    while place < len(view):
        key, place = _varint(view, place)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, place = _varint(view, place)
            yield number, value
            continue
        if wire_type == _DELIMITED:
            length, place = _varint(view, place)
        elif wire_type in (_FOUR_BYTES, _EIGHT_BYTES):
            length = 4 if wire_type == _FOUR_BYTES else 8
        else:
            raise ValueError(f"wire type {wire_type}")
        if place + length > len(view):
            raise ValueError("cut off")
        yield number, view[place : place + length]
        place += length


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    """The number at `place`, seven bits a byte, lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = view[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("number too long")


def _entry(value: int | memoryview) -> tuple[str, str]:
    if isinstance(value, int):
        raise ValueError("metadata is no message")
    parts = {number: bytes(part).decode() for number, part in _fields(value) if isinstance(part, memoryview)}
    return parts.get(_ENTRY_KEY, ""), parts.get(_ENTRY_VALUE, "")


def _initializer(value: int | memoryview, path: Path) -> tuple[str, npt.NDArray[np.floating[Any]]]:
    if isinstance(value, int):
        raise BundleError(f"{path}: an initializer is no message: export it again with 'ssa-fast export'")
    shape: list[int] = []
    kind, name, raw = 0, "", memoryview(b"")
    for number, part in _fields(value):
        if number == _TENSOR_DIMS:
            shape += _packed(part)
        elif number == _TENSOR_TYPE and isinstance(part, int):
            kind = part
        elif number == _TENSOR_NAME and isinstance(part, memoryview):
            name = bytes(part).decode()
        elif number == _TENSOR_RAW and isinstance(part, memoryview):
            raw = part
    dtype = _DTYPES.get(kind)
    if dtype is None or len(raw) != dtype.itemsize * int(np.prod(shape)):
        raise BundleError(
            f"{path}: weight '{name}' is not raw float32 or float16: export it again with 'ssa-fast export'"
        )
    return name, np.frombuffer(raw, dtype=dtype).reshape(shape)


def _packed(part: int | memoryview) -> list[int]:
    """Numbers of a repeated field: one alone, or many packed together."""
    if isinstance(part, int):
        return [part]
    numbers, place = [], 0
    while place < len(part):
        number, place = _varint(part, place)
        numbers.append(number)
    return numbers
