"""Several answers for one: of several networks, of mirrored brains, averaged behind the protocol of one backend."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from ssa_fast.backends.base import Backend, Device, Footprint, labels_of_batch
from ssa_fast.errors import ConfigError
from ssa_fast.labels import REGIONS
from ssa_fast.model.spec import ModelSpec, gflop, live_values
from ssa_fast.volume.geometry import FloatArray, LabelArray
from ssa_fast.volume.postprocess import labels_from_logits
from ssa_fast.volume.probabilities import entropy, softmax

__all__ = ["DOUBTS", "Ensemble", "mirrored"]

DOUBTS = 1 + len(REGIONS)
"""Channels that `logits_and_doubt` has beside the logits."""

_AXES = {"x": 2, "y": 3, "z": 4}  # of (N, C, X, Y, Z); x is left and right, for brains are turned to RAS
_SLAB = 16  # voxels along X whose exponentials are taken at once


class Ensemble:
    """Networks that run one after the other on the same windows, as they are and mirrored: one backend of many votes.

    Its logits are the logarithm of the mean of the votes' probabilities. So labels, windows, their blending and plans
    work as for one network. Source of mirroring at test time: nnU-Net (Isensee et al., Nature Methods 2021), which
    averages logits or, over folds, probabilities; here it is probabilities throughout.
    """

    def __init__(self, members: Sequence[Backend], mirror: str = "", *, has_doubt: bool = False) -> None:
        """`mirror` names axes of the brain in RAS, such as `x` or `xyz`: every member also sees every flip along them.

        2, 4 or 8 votes a member are then taken. `has_doubt` plans the memory that `logits_and_doubt` takes. Raises
        ConfigError for axes that are not, or members that differ in modalities, labels, preprocessing or device.
        """
        self.members = tuple(members)
        self.mirror = _checked_axes(mirror)
        self._doubts = DOUBTS if has_doubt else 0
        places = [_AXES[axis] for axis in self.mirror]
        self._flips = [
            flip for count in range(len(places) + 1) for flip in itertools.combinations(places, count)
        ]  # the first is none
        for member in self.members[1:]:
            _check_alike(self.members[0], member)
        self.spec = _spec(self.members, self.mirror)

    @property
    def device(self) -> Device:
        """See `Backend.device`: the first member's, which may differ from one shape to the next."""
        return self.members[0].device

    @property
    def votes(self) -> int:
        """How many answers each voxel's mean is of."""
        return len(self.members) * len(self._flips)

    @property
    def _lets_go(self) -> bool:
        """Whether members give their buffers up after each call: not on a GPU, where they may be costly graphs."""
        return len(self.members) > 1 and self.members[0].footprint.is_host

    @property
    def footprint(self) -> Footprint:
        """What the members hold, and the largest takes, with the sum of votes beside it; see `Backend.footprint`."""
        footprints = [member.footprint for member in self.members]
        values = live_values(self.spec.network)
        shares = [
            one.share * live_values(member.spec.network) for one, member in zip(footprints, self.members, strict=True)
        ]
        beside = 0
        if footprints[0].is_host:  # else it is not in the memory that the footprint is about
            beside = self.spec.network.classes + self._doubts + (self.spec.network.modalities if self.mirror else 0)
        cube = (self.spec.divisor,) * 3  # any shape: arithmetic grows with the voxels alone
        work = sum(gflop(member.spec.network, cube) for member in self.members) / gflop(self.spec.network, cube)
        return Footprint(
            held_bytes=_held_bytes(footprints),
            share=(max(shares) + beside) / values,
            is_host=footprints[0].is_host,
            shapes=_common_shapes(self.members),
            keeps_buffers=not self._lets_go and any(one.keeps_buffers for one in footprints),
            kept_bytes=sum(one.kept_bytes for one in footprints),
            is_kept_apart=any(one.is_kept_apart for one in footprints),
            votes=self.votes,
            work=work * len(self._flips),
        )

    def logits(self, windows: FloatArray) -> FloatArray:
        """The logarithm of the votes' mean probabilities; see `Backend.logits`."""
        return self._mean(windows, doubts=0)

    def logits_and_doubt(self, windows: FloatArray) -> FloatArray:
        """As `logits`, with `DOUBTS` channels more, each from 0 to 1: (N, K + DOUBTS, X, Y, Z).

        First the mean of the votes' entropies, then, for each of `labels.REGIONS`, the share of votes that see it.
        """
        return self._mean(windows, doubts=DOUBTS)

    def labels(self, windows: FloatArray) -> LabelArray:
        """See `Backend.labels`."""
        return labels_of_batch(self.logits(windows))

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        return self.members[0].free_bytes()

    def let_go(self) -> None:
        """See `Backend.let_go`."""
        for member in self.members:
            member.let_go()

    def close(self) -> None:
        """See `Backend.close`."""
        for member in self.members:
            member.close()

    def _mean(self, windows: FloatArray, doubts: int) -> FloatArray:
        classes = self.spec.network.classes
        total = np.zeros((len(windows), classes + doubts, *windows.shape[2:]), dtype=np.float32)
        for member in self.members:
            for flip in self._flips:
                turned = np.ascontiguousarray(np.flip(windows, flip)) if flip else windows
                _add_vote(total, np.flip(member.logits(turned), flip), classes)
            if self._lets_go:
                member.let_go()  # else every member's buffers would be held at once
        total /= np.float32(self.votes)
        shares = total[:, :classes]
        np.log(np.maximum(shares, np.finfo(np.float32).tiny, out=shares), out=shares)
        return total


def mirrored(backend: Backend, axes: str, *, has_doubt: bool = False) -> Backend:
    """The backend with a vote for each flip along `axes` beside its own; itself if it then has one vote.

    Raises ConfigError for axes that are not.
    """
    if isinstance(backend, Ensemble):
        return Ensemble(backend.members, axes or backend.mirror, has_doubt=has_doubt)
    return Ensemble([backend], axes, has_doubt=has_doubt) if axes else backend


def _add_vote(total: FloatArray, logits: FloatArray, classes: int) -> None:
    """Add the probabilities (and doubts, where `total` has channels for them) of (N, K, X, Y, Z) logits."""
    for sums, one in zip(total, logits, strict=True):
        for first in range(0, one.shape[1], _SLAB):
            slab = slice(first, first + _SLAB)
            shares = softmax(one[:, slab])
            sums[:classes, slab] += shares
            if len(sums) > classes:
                sums[classes, slab] += entropy(shares)
                labels = labels_from_logits(one[:, slab])
                for channel, region in zip(sums[classes + 1 :], REGIONS.values(), strict=True):
                    channel[slab] += np.isin(labels, region)


def _checked_axes(mirror: str) -> str:
    axes = "".join(sorted(mirror.lower()))
    if any(axis not in _AXES for axis in axes) or len(set(axes)) < len(axes):
        raise ConfigError(f"mirror '{mirror}': wanted axes of the brain, each once, such as x or xyz")
    return axes


def _check_alike(first: Backend, other: Backend) -> None:
    ours, theirs = first.spec, other.spec
    for what, one, two in (
        ("read", " ".join(ours.modalities), " ".join(theirs.modalities)),
        ("give the labels", " ".join(ours.labels), " ".join(theirs.labels)),
        ("were trained on volumes", ours.preprocessing, theirs.preprocessing),
        ("run by", str(first.device), str(other.device)),
    ):
        if one != two:
            raise ConfigError(
                f"networks '{ours.name}' and '{theirs.name}' {what} {one}, and {two}: an ensemble needs them alike"
            )


def _spec(members: Sequence[Backend], mirror: str) -> ModelSpec:
    """The spec of the member whose windows are multiples of the most, under a name for all."""
    widest = max((member.spec for member in members), key=lambda spec: spec.divisor)
    name = " + ".join(member.spec.name for member in members) + (f", mirrored along {mirror}," if mirror else "")
    profiles = {member.spec.postprocessing for member in members}
    postprocessing = profiles.pop() if len(profiles) == 1 else ""  # to be chosen by who runs it
    return dataclasses.replace(widest, name=name, postprocessing=postprocessing, scores={})  # measured of one alone


def _held_bytes(footprints: Sequence[Footprint]) -> int:
    """Of a process's memory the member that was opened last has counted all; a device's engines count their own."""
    held = [one.held_bytes for one in footprints]
    return max(held) if footprints[0].is_host else sum(held)


def _common_shapes(members: Sequence[Backend]) -> tuple[tuple[int, int, int], ...]:
    """The smallest and largest shape that every member takes; (): any. Raises ConfigError if there is none."""
    ranges = [member.footprint.shapes for member in members if member.footprint.shapes]
    if not ranges:
        return ()
    least, most = ranges[0][0], ranges[0][-1]
    for shapes in ranges[1:]:
        x, y, z = map(max, least, shapes[0])
        least = (x, y, z)
        x, y, z = map(min, most, shapes[-1])
        most = (x, y, z)
    if any(low > high for low, high in zip(least, most, strict=True)):
        raise ConfigError("no shape of windows is taken by every engine of the ensemble: build them by one profile")
    return (least,) if least == most else (least, most)
