"""Changes of a training patch: mirrored anatomy and the looks of other scanners.

Chances and ranges follow nnU-Net's defaults (Isensee et al., Nature Methods 2021), stronger in intensity; thick slices
and bias field stand for the low-field scanners of African hospitals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ssa_fast.train.config import AugmentConfig
from ssa_fast.train.synthesis import synthesized
from ssa_fast.volume.axes import along_axes, hat_weights

__all__ = ["augment"]

_CURVE_PIECES, _CURVE_EVENNESS = 6, 4.0  # straight pieces of a random curve, and how alike they rise
_CURVE_SAMPLE = 10_000  # voxels that its ends are found by


@dataclass(frozen=True)
class _Brain:
    """Which voxels of a patch are brain, looked up once for all that is asked of them."""

    mask: Tensor  # (X, Y, Z) float32, 1 or 0
    places: Tensor  # (n,) of its voxels in the flattened patch

    @classmethod
    def of(cls, patch: Tensor) -> _Brain:
        is_brain = (patch != 0).any(dim=0)
        return cls(is_brain.float(), is_brain.flatten().nonzero()[:, 0])

    def values(self, channel: Tensor) -> Tensor:
        """(n,) of a channel (X, Y, Z). A boolean index would take forty times as long."""
        return channel.flatten().index_select(0, self.places)


def augment(patch: Tensor, labels: Tensor, config: AugmentConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A changed copy of a patch (C, X, Y, Z) and its labels (X, Y, Z). Zero outside the brain stays zero."""
    axes = [axis for axis in (-3, -2, -1) if rng.random() < config.flip]
    if axes:
        patch, labels = patch.flip(axes), labels.flip(axes)
    brain = _Brain.of(patch)
    if not len(brain.places):
        return patch, labels
    if _happens(config.synthesis, rng):
        patch = torch.from_numpy(synthesized(patch.numpy(), labels.numpy(), rng))
    channels = [_as_of_another_scanner(channel, brain, config, rng) for channel in patch]
    if rng.random() < config.swap_modalities:
        first, second = rng.choice(len(channels), 2, replace=False)
        channels[first], channels[second] = channels[second], channels[first]
    if rng.random() < config.drop_modality:
        channels[int(rng.integers(len(channels)))] = torch.zeros_like(patch[0])
    return torch.stack(channels), labels


def _happens(chance: float, rng: np.random.Generator) -> bool:
    """By chance; nothing is drawn where there is none, so that runs from before a change was known go on the same."""
    return chance > 0 and rng.random() < chance


def _as_of_another_scanner(channel: Tensor, brain: _Brain, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """One modality (X, Y, Z), changed by chance in intensity, sharpness and noise, as a scanner would order them."""
    if rng.random() < config.bias_field:
        channel = _bias_field(channel, brain, rng)
    if _happens(config.intensity_map, rng):
        channel = _mapped(channel, brain, rng)
    if rng.random() < config.gamma:
        channel = _gamma(channel, brain, float(np.exp(rng.uniform(-0.5, 0.5))))
    if rng.random() < config.contrast:
        channel = channel * rng.uniform(*config.contrast_range) + rng.normal(0, config.brightness)
    if rng.random() < config.blur:
        channel = _blur(channel, float(rng.uniform(0.5, 1.2)))
    if rng.random() < config.thick_slices:
        channel = _thick_slices(channel, axis=int(rng.integers(3)), thickness=float(rng.uniform(2, 5)))
    if rng.random() < config.low_resolution:
        channel = _low_resolution(channel, zoom=float(rng.uniform(0.5, 1)))
    if rng.random() < config.noise:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        channel = channel + torch.randn(channel.shape, generator=generator) * rng.uniform(0, 0.3)
    return channel * brain.mask


def _bias_field(channel: Tensor, brain: _Brain, rng: np.random.Generator) -> Tensor:
    """Multiplied by a smooth field, counted from the darkest voxel of the brain: z-scores have no true zero."""
    knots = torch.tensor(rng.normal(0, 0.2, (4, 4, 4)), dtype=torch.float32)
    field = _interpolated(knots, channel.shape, reaches_ends=True).exp()
    darkest = brain.values(channel).min()
    return (channel - darkest) * field + darkest


def _gamma(channel: Tensor, brain: _Brain, exponent: float) -> Tensor:
    """The intensity range bent by a power; the brain's mean and deviation stay."""
    values = brain.values(channel)
    low, high = values.min(), values.max()
    if high - low < 1e-6:  # a blank modality
        return channel
    return _as_spread(((channel - low) / (high - low)).clamp(0, 1) ** exponent, brain, values)


def _mapped(channel: Tensor, brain: _Brain, rng: np.random.Generator) -> Tensor:
    """The intensities through a random curve that always rises; the brain's mean and deviation stay.

    Source: the non-linear transformation of Models Genesis (Zhou et al., Medical Image Analysis 2021), by straight
    pieces in place of a Bézier curve, and without the falling half.
    """
    values = brain.values(channel)
    some = values[:: max(1, len(values) // _CURVE_SAMPLE)]
    low, high = (float(torch.quantile(some, share)) for share in (0.01, 0.99))  # a bright vessel decides nothing
    if high - low < 1e-6:  # a blank modality
        return channel
    steps = rng.dirichlet(np.full(_CURVE_PIECES, _CURVE_EVENNESS))
    heights = np.concatenate([[0], np.cumsum(steps)]) * (high - low) + low
    knots = np.linspace(low, high, _CURVE_PIECES + 1)
    given = values.numpy()
    curve = np.interp(given, knots, heights) + (given - np.clip(given, low, high))  # beyond its ends as it was
    changed = torch.zeros(channel.numel()).index_copy_(0, brain.places, torch.from_numpy(curve.astype(np.float32)))
    return _as_spread(changed.view(channel.shape), brain, values)


def _as_spread(channel: Tensor, brain: _Brain, values: Tensor) -> Tensor:
    """The channel moved and stretched, so that the brain's mean and deviation are those of `values`."""
    inside = brain.values(channel)
    return (channel - inside.mean()) / inside.std().clamp_min(1e-6) * values.std() + values.mean()


def _blur(channel: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `sigma` voxels along all axes: shifted copies added up, an eighth of the time of `conv3d`."""
    reach = int(np.ceil(2.5 * sigma))
    heights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    middle, *shares = (heights / heights.sum())[reach:].tolist()
    for axis, edge in enumerate(channel.shape):
        blurred = channel * middle
        for shift, share in enumerate(shares[: edge - 1], start=1):
            kept = edge - shift
            blurred.narrow(axis, shift, kept).add_(channel.narrow(axis, 0, kept), alpha=share)
            blurred.narrow(axis, 0, kept).add_(channel.narrow(axis, shift, kept), alpha=share)
        channel = blurred
    return channel


def _thick_slices(channel: Tensor, axis: int, thickness: float) -> Tensor:
    """Slices averaged over `thickness` voxels along one axis and interpolated back."""
    size = list(channel.shape)
    size[axis] = max(2, round(size[axis] / thickness))
    thick = functional.interpolate(channel[None, None], size=size, mode="area")
    return _interpolated(thick[0, 0], channel.shape)


def _low_resolution(channel: Tensor, zoom: float) -> Tensor:
    """Every second voxel or so, `zoom` of an edge, and interpolated back: a matrix that was small from the start.

    Source: SimulateLowResolutionTransform of nnU-Net, nearest down and linear (there cubic) up.
    """
    size = [max(2, round(edge * zoom)) for edge in channel.shape]
    small = functional.interpolate(channel[None, None], size=size, mode="nearest-exact")
    return _interpolated(small[0, 0], channel.shape)


def _interpolated(channel: Tensor, shape: Sequence[int], *, reaches_ends: bool = False) -> Tensor:
    """Linear along each axis, from (X, Y, Z) to `shape`: as torch's trilinear kernel, in a tenth of its time.

    With `reaches_ends` the centers of the outer voxels stay where they are (torch's `align_corners`), else the edges.
    """
    matrices = []
    for given, wanted in zip(channel.shape, shape, strict=True):
        middles = (np.arange(wanted) + 0.5) * given / wanted - 0.5
        matrices.append(hat_weights(given, np.linspace(0, given - 1, wanted) if reaches_ends else middles))
    return torch.from_numpy(along_axes(channel.numpy(), matrices))
