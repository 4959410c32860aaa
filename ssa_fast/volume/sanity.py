"""What makes a case unfit for the network although every file is sound, each with a line that says what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import nibabel
import numpy as np

from ssa_fast.labels import MODALITIES
from ssa_fast.volume.alignment import misfits
from ssa_fast.volume.case import Case
from ssa_fast.volume.geometry import BoolArray
from ssa_fast.volume.modality_order import LEAST_BRAIN_VOXELS, contrasts_of, same_images
from ssa_fast.volume.nifti import Volume
from ssa_fast.volume.preprocess import Brain

__all__ = ["Suspicion", "suspicions"]

_CORNER = 12  # a corner is this part of the box's edges
_MOST_IN_CORNERS = 0.1  # of their voxels; none in fifteen BraTS-SSA cases
_LARGEST_BRAIN_ML = 2000  # 1692 is the most in fifteen BraTS-SSA cases; a head has much more
_LARGEST_BOX_MM = (175, 210, 180)  # X Y Z of RAS; 147 x 182 x 153 are the most in fifteen BraTS-SSA cases
_MOST_ENCLOSED = 0.03  # zeros with brain on both sides along each axis, as a share of the brain
_LEAST_COMMON = 0.85  # of the voxels of two images together; 0.994 is the least in fifteen BraTS-SSA cases
_STEP = 3  # every third voxel is enough to see a head or a shift
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """One reason not to segment a case."""

    check: str  # a word for the kind, such as "order"
    seen: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.seen}: {self.remedy}"


def suspicions(case: Case, brain: Brain) -> list[Suspicion]:
    """All that is suspected of a case; `case` as its files are, `brain` in voxels of 1 mm.

    Contrast and alignment are judged only for a brain of 0.3 litres or more that has no other fault: what a skull or a
    doubled image does to them means nothing.
    """
    headers = list(_of_headers(case))
    for check in (_of_skull, _of_twins):
        if found := list(check(brain)):
            return headers + found
    if np.count_nonzero(brain.foreground) < LEAST_BRAIN_VOXELS:
        _log.info("case %s: the brain is too small for its contrast and alignment to be judged", case.name)
        return headers + list(_of_masks(brain))
    order = list(_of_order(brain))
    return headers + order + (list(_of_masks(brain)) or list(_of_alignment(brain)))


def _of_headers(case: Case) -> Iterator[Suspicion]:
    """Left and right are where a header puts them, so it must do that, and not in two ways."""
    for modality, volume in zip(MODALITIES, case.volumes, strict=True):
        if int(volume.header["qform_code"]) == int(volume.header["sform_code"]) == 0:
            yield Suspicion(
                check="header",
                seen=f"the header of {modality} has neither qform nor sform, so left and right are a guess",
                remedy="convert it again from DICOM, or set the codes if you know",
            )
        elif (directions := _two_directions(volume)) is not None:
            yield Suspicion(
                check="header",
                seen=f"the qform of {modality} runs {directions[0]}, its sform {directions[1]}",
                remedy="find out which is right, and set both",
            )


def _two_directions(volume: Volume) -> tuple[str, str] | None:
    """The directions of both forms, such as LAS and RAS, where they differ."""
    try:
        qform, q_code = volume.header.get_qform(coded=True)
    except (nibabel.spatialimages.HeaderDataError, ValueError):  # a quaternion that is none
        return None
    sform, s_code = volume.header.get_sform(coded=True)
    if not (q_code and s_code) or not np.isfinite(sform).all() or not np.isfinite(qform).all():
        return None
    one, other = ("".join(str(end) for end in nibabel.orientations.aff2axcodes(form)) for form in (qform, sform))
    return None if one == other else (one, other)


def _of_skull(brain: Brain) -> Iterator[Suspicion]:
    remedy = "strip the skull first, and set what is outside to zero"
    corners = [_corner_share(image != 0) for image in brain.array]
    if max(corners) > _MOST_IN_CORNERS:
        filled = " ".join(name for name, share in zip(MODALITIES, corners, strict=True) if share > _MOST_IN_CORNERS)
        yield Suspicion(check="skull", seen=f"the background of {filled} is not zero", remedy=remedy)
        return
    milliliters = int(np.count_nonzero(brain.foreground)) / 1000
    if milliliters > _LARGEST_BRAIN_ML:
        seen = f"{milliliters:.0f} ml are not zero, more than any brain has (at most {_LARGEST_BRAIN_ML})"
        yield Suspicion(check="skull", seen=seen, remedy=remedy)
    elif any(edge > most for edge, most in zip(brain.box.shape, _LARGEST_BOX_MM, strict=True)):
        size, most = (" x ".join(map(str, edges)) for edges in (brain.box.shape, _LARGEST_BOX_MM))
        yield Suspicion(check="skull", seen=f"what is not zero spans {size} mm, a brain at most {most}", remedy=remedy)
    elif (share := _enclosed_share(brain.foreground[::_STEP, ::_STEP, ::_STEP])) > _MOST_ENCLOSED:
        seen = f"zeros lie within what is not zero, {share:.0%} of it, as between brain and skull"
        yield Suspicion(check="skull", seen=seen, remedy=remedy)


def _corner_share(mask: BoolArray) -> float:
    """Of the voxels in the eight corners of a box, the share that is True."""
    edges = [max(1, edge // _CORNER) for edge in mask.shape]
    ends = product(*((slice(None, edge), slice(-edge, None)) for edge in edges))
    return float(np.mean([mask[corner].mean() for corner in ends]))


def _enclosed_share(mask: BoolArray) -> float:
    """Voxels that are False with True ones before and behind along each axis, over those that are True."""
    enclosed = ~mask
    for axis in range(3):
        before = np.logical_or.accumulate(mask, axis=axis)
        behind = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
        enclosed &= before & behind
    return int(np.count_nonzero(enclosed)) / max(int(np.count_nonzero(mask)), 1)


def _of_twins(brain: Brain) -> Iterator[Suspicion]:
    for one, other in same_images(brain.array):
        yield Suspicion(check="twins", seen=f"{one} and {other} are the same image", remedy="give each its own")


def _of_masks(brain: Brain) -> Iterator[Suspicion]:
    masks = brain.array[:, ::_STEP, ::_STEP, ::_STEP] != 0
    shares = {}
    for place, modality in enumerate(MODALITIES):
        others = [other for other in range(len(MODALITIES)) if other != place]
        shares[modality] = max(_overlap(masks[place], masks[other]) for other in others)
    worst = min(shares, key=lambda modality: shares[modality])
    if shares[worst] < _LEAST_COMMON:
        yield Suspicion(
            check="alignment",
            seen=f"{worst} shares at most {shares[worst]:.0%} of its voxels with another image of the case",
            remedy="look at it: is it registered to the others, cut off, or of another patient?",
        )


def _overlap(one: BoolArray, other: BoolArray) -> float:
    """Voxels in both masks, over those in either."""
    return int(np.count_nonzero(one & other)) / max(int(np.count_nonzero(one | other)), 1)


def _of_order(brain: Brain) -> Iterator[Suspicion]:
    contrasts = contrasts_of(brain.array, brain.foreground)
    broken = contrasts.broken(range(len(MODALITIES))) if contrasts is not None else ()
    if contrasts is not None and broken:
        likely = contrasts.likely_order()
        looks = f"; the images given as {' '.join(MODALITIES)} look like {' '.join(likely)}"
        yield Suspicion(
            check="order",
            seen=" and ".join(broken) + (looks if likely != MODALITIES else ""),
            remedy="check which image is which",
        )


def _of_alignment(brain: Brain) -> Iterator[Suspicion]:
    for misfit in misfits(brain.array):
        yield Suspicion(check="alignment", seen=misfit.seen, remedy="register all images of the case to one")
