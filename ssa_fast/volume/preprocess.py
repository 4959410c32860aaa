"""From a case to what a network reads, and the record that leads back."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssa_fast.errors import CaseError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import Case, errors_of_case
from ssa_fast.volume.geometry import BoolArray, Box, FloatArray, bounding_box, pad_to_multiple, to_ras

__all__ = ["Brain", "crop_to_brain", "pad_brain", "z_score"]

_THREADS = 2  # that normalize modalities: numpy lets others work meanwhile
_SAFE_EXPONENT = 40  # of two: scanners give values far within
_LEAST_DEVIATION = 1e-6  # as a share of the mean: less is rounding


@dataclass(frozen=True, kw_only=True)
class Brain:
    """A case cut to its brain and normalized, in RAS axes."""

    array: FloatArray  # (C, X, Y, Z), zero outside the brain
    foreground: BoolArray  # (X, Y, Z): any modality is not zero
    box: Box  # where `array` lies in the RAS volume
    ras_shape: tuple[int, ...]  # of that volume, X Y Z


def crop_to_brain(case: Case) -> Brain:
    """The box around every voxel that is not zero in some modality, each modality z-scored.

    `!= 0`, never `> 0`: some scanners leave negative values inside the brain.
    Raises CaseError if a modality has one value throughout the brain, or values that float32 cannot hold.
    """
    turned = [to_ras(volume.array, volume.affine) for volume in case.volumes]
    foreground = turned[0] != 0
    for array in turned[1:]:
        foreground |= array != 0
    box = bounding_box(foreground)
    channels: FloatArray = np.empty((len(turned), *box.shape), dtype=np.float32)  # (C, X, Y, Z)

    def normalize(place: int) -> None:
        with errors_of_case(f"{case.name}: {MODALITIES[place]}"):
            _fill(channels[place], turned[place][box.slices])
            z_score(channels[place])

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(normalize, range(len(turned))))
    inside = np.ascontiguousarray(foreground[box.slices])
    return Brain(array=channels, foreground=inside, box=box, ras_shape=foreground.shape)


def z_score(channel: FloatArray) -> None:
    """Bring the non-zero voxels of (X, Y, Z) to mean 0 and standard deviation 1, in place; zeros stay zero.

    Raises CaseError if all non-zero voxels have one value.
    Source: normalization of MRI in nnU-Net (Isensee et al., Nature Methods 2021).
    """
    inside = channel != 0
    values = channel[inside]
    _, exponent = np.frexp(max(values.max(), -values.min()))
    if abs(exponent) > _SAFE_EXPONENT:  # squares and sums of such values leave float32; powers of two change no digit
        np.ldexp(channel, -exponent, out=channel)
        values = channel[inside]
    else:
        exponent = 0
    mean = values.mean(dtype=np.float64)
    deviation = values.std(dtype=np.float64)
    if not deviation > _LEAST_DEVIATION * abs(mean):
        raise CaseError(
            f"all non-zero voxels have the value {math.ldexp(mean, int(exponent)):g}: export the image again"
        )
    channel -= np.float32(mean)
    channel *= np.float32(1 / deviation)
    channel *= inside


def _fill(channel: FloatArray, values: npt.NDArray[np.generic]) -> None:
    """Copy values of any type into float32. Raises CaseError if they are too large for it, or vanish in it."""
    with np.errstate(over="ignore", under="ignore"):
        for place in range(channel.shape[1]):  # files run along X first: by planes it takes two thirds of the time
            channel[:, place] = values[:, place]
    is_wider = values.dtype.kind == "f" and values.dtype.itemsize > channel.itemsize
    if is_wider and not (np.isfinite(channel).all() and np.array_equal(channel != 0, values != 0)):
        raise CaseError(f"values reach {np.abs(values).max():g}, beyond float32: rescale the image")


def pad_brain(brain: Brain, divisor: int) -> tuple[FloatArray, Box]:
    """The brain as one network input (1, C, X, Y, Z), edges multiples of `divisor`, and its box in there."""
    padded, inner = pad_to_multiple(brain.array, divisor)
    return padded[np.newaxis], inner  # (1, C, X, Y, Z)
