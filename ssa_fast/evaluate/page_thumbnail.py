"""A small picture of a case: one slice under its prediction."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from ssa_fast.evaluate.page_volumes import Scene
from ssa_fast.labels import LABEL_COLORS, MODALITIES
from ssa_fast.volume.slices import radiological

__all__ = ["thumbnail_png"]

_FILL = 0.55  # opacity of a label
_HEADER = ">IIBBBBB"
_DEPTH, _RGB = 8, 2


def thumbnail_png(scene: Scene) -> bytes:
    """The slice with most tumour, T2-FLAIR under the prediction, as a PNG: radiological, a pixel a voxel."""
    z = scene.shown_slice - scene.first_slice
    gray = radiological(scene.images[:, :, z, MODALITIES.index("t2f")])
    labels = radiological(scene.labels["prediction"][:, :, z])
    picture = np.repeat(gray[..., np.newaxis], 3, axis=2).astype(np.float32)
    for label, color in LABEL_COLORS.items():
        ink = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)], dtype=np.float32)
        inside = labels == label
        picture[inside] = (1 - _FILL) * picture[inside] + _FILL * ink
    return _png(np.rint(picture).astype(np.uint8))


def _png(picture: npt.NDArray[np.uint8]) -> bytes:
    """An RGB picture (rows, columns, 3) as a PNG file."""
    rows, columns, _ = picture.shape
    lines = np.concatenate([np.zeros((rows, 1), dtype=np.uint8), picture.reshape(rows, -1)], axis=1)  # 0: no filter
    header = struct.pack(_HEADER, columns, rows, _DEPTH, _RGB, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    packed = [
        struct.pack(">I", len(its)) + kind + its + struct.pack(">I", zlib.crc32(kind + its)) for kind, its in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)
