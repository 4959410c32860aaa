"""Cases made worse in the ways of scanners, a step at a time: the same seed and severity give the same voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.errors import ConfigError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import BoolArray, FloatArray, spacing_mm
from ssa_fast.volume.nifti import Volume

__all__ = ["DEGRADATIONS", "Degradation", "degraded"]

_Change = Callable[[FloatArray, BoolArray, int, np.random.Generator, Volume], FloatArray]
_NOISE = (0, 0.05, 0.1, 0.2, 0.3)
_BIAS = (0, 0.15, 0.3, 0.5, 0.7)
_SLICE_MM = (0, 3, 4, 5, 7)
_GAMMA = (1, 1.2, 1.4, 1.7, 2.0)
_SHIFT_MM = (0, 2, 4, 7, 10)
_LEAST = 1e-3  # of a modality's scale: what brain voxels are kept from zero by


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """One way in which images are worse than those that a network knows."""

    about: str  # what it is, in physical words
    steps: tuple[str, ...]  # a severity each
    change: _Change | None  # of one modality's values inside the brain; None: a modality is left out
    modality: int | None = None  # the only one that it is done to; None: all, each with noise of its own


def degraded(case: Case, name: str, severity: int, seed: int = 0) -> Case:
    """`case` after a degradation, with the same background, grid and brain; values are float32.

    Severity 0 is the case as it is. Raises ConfigError for an unknown degradation or severity.
    """
    if name not in DEGRADATIONS:
        raise ConfigError(f"no degradation '{name}': wanted one of {', '.join(DEGRADATIONS)}")
    if not 0 <= severity < len(DEGRADATIONS[name].steps):
        raise ConfigError(f"no severity {severity} of '{name}': wanted 0 to {len(DEGRADATIONS[name].steps) - 1}")
    if severity == 0:
        return case
    known = DEGRADATIONS[name]
    volumes = []
    for place, volume in enumerate(case.volumes):
        if known.modality not in (None, place):
            volumes.append(volume)
            continue
        words = f"{case.name} {name} {place} {seed}".encode()  # not hash(): that differs from process to process
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(words).digest()[:8], "big"))
        array = np.asarray(volume.array, dtype=np.float32)
        inside = array != 0
        changed = known.change(array, inside, severity, rng, volume) if known.change else _left_out(array, inside, rng)
        scale = _LEAST * max(float(array[inside].std()), 1e-6)
        changed = np.where(np.abs(changed) < scale, np.float32(scale), changed)  # zero would be background
        volumes.append(replace(volume, array=np.where(inside, changed, 0).astype(np.float32)))
    return replace(case, volumes=tuple(volumes))


def _noise(array: FloatArray, inside: BoolArray, severity: int, rng: np.random.Generator, _: Volume) -> FloatArray:
    low, high = np.percentile(array[inside], (1, 99))
    sigma = _NOISE[severity] * (high - low)
    real = array - low + rng.normal(0, sigma, array.shape)
    return np.asarray(np.hypot(real, rng.normal(0, sigma, array.shape)) + low, dtype=np.float32)


def _bias(array: FloatArray, inside: BoolArray, severity: int, rng: np.random.Generator, _: Volume) -> FloatArray:
    ends = [np.linspace(-1, 1, edge, dtype=np.float32) for edge in array.shape]
    places = np.meshgrid(*ends, indexing="ij", sparse=True)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    slope = sum(part * place for part, place in zip(direction, places, strict=True))
    field = 1 + np.float32(_BIAS[severity]) * (slope - 0.5 * (places[0] ** 2 + places[1] ** 2 + places[2] ** 2))
    low = float(array[inside].min())
    return np.asarray((array - low) * field.clip(0.05) + low, dtype=np.float32)


def _thick(array: FloatArray, inside: BoolArray, severity: int, _: np.random.Generator, like: Volume) -> FloatArray:
    """Along the axis that runs most from feet to head; the background does not count in the mean of a slice."""
    axis = int(np.argmax(nibabel.orientations.io_orientation(like.affine)[:, 0] == 2))
    count = max(1, round(_SLICE_MM[severity] / spacing_mm(like.affine)[axis]))
    moved = np.moveaxis(array, axis, 0)
    weights = np.moveaxis(inside, axis, 0).astype(np.float32)
    starts = np.arange(0, len(moved), count)
    sums, counts = np.add.reduceat(moved, starts, axis=0), np.add.reduceat(weights, starts, axis=0)
    means = np.repeat((sums / np.maximum(counts, 1)).astype(np.float32), count, axis=0)[: len(moved)]
    return np.asarray(np.moveaxis(means, 0, axis), dtype=np.float32)


def _gamma(array: FloatArray, inside: BoolArray, severity: int, _: np.random.Generator, __: Volume) -> FloatArray:
    low, high = float(array[inside].min()), float(array[inside].max())
    share = ((array - low) / max(high - low, 1e-6)).clip(0, 1)
    return np.asarray(share ** np.float32(_GAMMA[severity]) * (high - low) + low, dtype=np.float32)


def _motion(array: FloatArray, _: BoolArray, severity: int, rng: np.random.Generator, like: Volume) -> FloatArray:
    """A third of the lines of k-space along the second axis are those of a head that has shifted along the first."""
    shift = _SHIFT_MM[severity] / spacing_mm(like.affine)[0]
    spectrum = np.fft.fft2(array, axes=(0, 1))
    phase = np.exp(-2j * np.pi * np.fft.fftfreq(array.shape[0]) * shift)
    frequencies = np.fft.fftfreq(array.shape[1])
    moved = np.abs(frequencies) > 0.05  # the head lies still while the center of k-space is read
    moved &= rng.random(array.shape[1]) < 1 / 3
    spectrum[:, moved] *= phase[:, np.newaxis, np.newaxis]
    return np.asarray(np.fft.ifft2(spectrum, axes=(0, 1)).real, dtype=np.float32)


def _left_out(array: FloatArray, inside: BoolArray, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Values that tell nothing; a constant could not be normalized."""
    mean, deviation = float(array[inside].mean()), max(float(array[inside].std()), 1e-6)
    return np.asarray(rng.normal(mean or deviation, deviation, array.shape), dtype=np.float32)


def _said(values: tuple[float, ...], form: str) -> tuple[str, ...]:
    return ("as it is", *(form.format(value) for value in values[1:]))


DEGRADATIONS: Mapping[str, Degradation] = MappingProxyType(
    {
        "noise": Degradation(
            about="Rician noise on all modalities: of receivers, weak fields and short scans; its deviation as a share "
            "of the range from the 1st to the 99th percentile of the brain",
            steps=_said(_NOISE, "{:.0%} of the range"),
            change=_noise,
        ),
        "bias": Degradation(
            about="a smooth field of the coils that multiplies each modality: a slope, and a fall to the border",
            steps=_said(_BIAS, "±{:.0%}"),
            change=_bias,
        ),
        "thick": Degradation(
            about="axial slices averaged over a thickness, then repeated to the grid: 2D scans brought to 1 mm",
            steps=_said(_SLICE_MM, "{:g} mm"),
            change=_thick,
        ),
        "gamma": Degradation(
            about="values between the least and the most raised to a power: other contrast of a sequence or export",
            steps=_said(_GAMMA, "power {:g}"),
            change=_gamma,
        ),
        "motion": Degradation(
            about="a third of the outer lines of k-space, in-plane, read after the head has shifted: ghosts and blur",
            steps=_said(_SHIFT_MM, "{:g} mm"),
            change=_motion,
        ),
        **{
            f"no {name}": Degradation(
                about=f"{name} replaced inside the brain by noise of its mean and deviation: it was not acquired",
                steps=("as it is", "left out"),
                change=None,
                modality=place,
            )
            for place, name in enumerate(MODALITIES)
        },
    }
)
"""Name -> degradation."""
