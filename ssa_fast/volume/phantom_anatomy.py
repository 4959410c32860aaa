"""The inside of a phantom head: how much of each tissue a voxel holds, and where the tumour is.

Lengths are in mm, which are voxels here. Positions are RAS, from the middle of the brain box.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from ssa_fast.labels import ED, ET, NCR
from ssa_fast.volume.axes import along_axes
from ssa_fast.volume.geometry import BoolArray, FloatArray, LabelArray

__all__ = ["BRAIN_BOX", "Anatomy", "make_anatomy", "random_field", "soft_step"]

BRAIN_BOX = (144, 180, 144)  # real brains fill about 140 x 172 x 138
_COARSE = 2.0  # distances are smooth: an eighth of the voxels carries them
_FULLNESS = 2.2  # exponent of the ellipsoids: 2 is round, brains are a little square

# Ellipsoids: middle, half axes, lower vertical half axis.
_CEREBRUM = ((0.0, 0.0, 4.0), (66.0, 85.0, 61.0), 34.0)
_TEMPORAL_LOBE = ((38.0, 8.0, -23.0), (25.0, 44.0, 21.0), 20.0)
_CEREBELLUM = ((0.0, -37.0, -40.0), (52.0, 37.0, 26.0), 25.0)
_BRAINSTEM = ((0.0, -4.0, -36.0), (14.0, 14.0, 36.0), 27.0)
_CALLOSUM = ((0.0, -2.0, -4.0), (200.0, 42.0, 30.0), 60.0)  # the midline fissure ends on it

# Right half of the ventricles and nuclei; the left one is its mirror image.
_THIRD_VENTRICLE = ((0.0, -2.0, -3.0), (2.5, 13.0, 9.0), 9.0)
_FOURTH_VENTRICLE = ((0.0, -24.0, -40.0), (6.0, 6.0, 9.0), 9.0)
_NUCLEI = (
    ((10.0, -8.0, 3.0), (9.0, 15.0, 9.0), 8.0),  # thalamus
    ((14.0, 21.0, 6.0), (6.0, 11.0, 9.0), 9.0),  # head of the caudate
    ((26.0, 5.0, 0.0), (7.0, 17.0, 10.0), 9.0),  # putamen and pallidum
)
_LATERAL_VENTRICLE = (  # x, y, z, radius along its length: frontal horn to occipital horn
    (14.0, 36.0, 5.0, 3.0),
    (10.0, 22.0, 13.0, 4.5),
    (9.0, 2.0, 19.0, 4.0),
    (14.0, -18.0, 19.0, 4.5),
    (22.0, -32.0, 9.0, 6.0),
    (23.0, -54.0, 2.0, 2.0),
)

_Ellipsoid = tuple[tuple[float, float, float], tuple[float, float, float], float]


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """Shares of a voxel's content, 0 to 1, each (X, Y, Z) over `BRAIN_BOX`; the exact labels beside them."""

    depth: FloatArray  # below the brain's surface, negative outside
    meninges: FloatArray
    csf: FloatArray
    gray: FloatArray
    white: FloatArray
    necrosis: FloatArray
    enhancing: FloatArray
    edema: FloatArray
    labels: LabelArray


@dataclass(frozen=True)
class _Tumor:
    middle: FloatArray
    radius: float
    rim: float  # thickness of the enhancing shell
    reach: float  # of the oedema beyond the core
    push: float  # mass effect: 0 none


def soft_step(distance: FloatArray, width: float) -> FloatArray:
    """0 far below zero, 1 far above, 0.5 at zero: a border that voxels cut through."""
    step: FloatArray = 0.5 + 0.5 * np.tanh(distance * (0.5 / width))
    return step


def random_field(rng: Generator, shape: tuple[int, ...], spacing: float, *, folded: bool = False) -> FloatArray:
    """Smooth noise of mean 0 and deviation 1 whose detail is about `spacing` voxels wide.

    A cubic B-spline with normal coefficients. `folded` removes its slow part, so that its zeros meander at a
    near-constant distance of about 1.5 `spacing`, as the sulci of a brain do.
    """
    bases = [_spline_basis(edge, spacing) for edge in shape]
    knots = rng.standard_normal([basis.shape[1] for basis in bases], dtype=np.float32)
    if folded:
        knots -= sum(np.roll(knots, step, axis) for axis in range(3) for step in (-1, 1)) / 6
    field = along_axes(knots, bases)
    sample = field.ravel()[::7]  # enough to tell mean and deviation by; no edge or spacing is a multiple of 7
    field -= sample.mean()
    field /= sample.std()
    return field


def make_anatomy(rng: Generator) -> Anatomy:
    """One head: tissue, tumour and labels, different for every state of `rng`."""
    tumor = _draw_tumor(rng)
    still = _positions(rng)
    pushed = _mass_effect(still, tumor)
    cerebellum = _depth_in(still, _CEREBELLUM)
    below = _smooth_max(cerebellum, _depth_in(still, _BRAINSTEM))
    above = _smooth_max(_depth_in(still, _CEREBRUM), _depth_in(still, _TEMPORAL_LOBE))
    above -= 3.5 * np.exp(-np.square(still[0] / 5))  # a notch where the hemispheres meet
    depth = _fine(_smooth_max(above, below))
    for axis in range(3):
        np.moveaxis(depth, axis, 0)[[0, -1]] = -1  # the largest heads would touch the border of the box

    hindbrain = soft_step(_fine(below - above), 1.0)
    pial = np.minimum(depth, _sulci(rng, pushed, depth) + 8 * hindbrain)
    np.minimum(pial, _fissures(pushed, above - below), out=pial)
    far = _fine(np.linalg.norm(still - tumor.middle[:, None, None, None], axis=0)) - 1.6 * tumor.radius
    gap = (0.25 + 0.45 * random_field(rng, BRAIN_BOX, 16)) * (0.3 + 0.7 * soft_step(far, 8))  # half a sulcus wide
    csf = np.maximum(soft_step(gap - pial, 0.45), soft_step(_fine(_ventricles(rng, pushed)), 0.6))
    nuclei = _fine(np.max([_depth_in(pushed, nucleus) for nucleus in _NUCLEI], axis=0))
    gray = np.maximum(soft_step(gap + rng.uniform(2.6, 3.4) - pial, 0.6), 0.7 * soft_step(nuclei, 1.2))
    folia = 0.5 + 0.5 * np.sin(_fine(pushed[2] * 0.9 + pushed[1] * 0.4) + random_field(rng, BRAIN_BOX, 9))
    outer = hindbrain * soft_step(14 - depth, 2) * soft_step(_fine(cerebellum), 1.0)
    csf = np.maximum(csf, 0.35 * outer * folia**4)
    gray = np.minimum(np.maximum(gray, outer * (0.9 - 0.4 * folia)), 1 - csf)
    meninges = soft_step(1.2 + 1.3 * random_field(rng, BRAIN_BOX, 9) - depth, 0.6)

    necrosis, enhancing, edema = _tumor_shares(rng, tumor, still, depth, gray + 2 * csf)
    spared = 1 - necrosis - enhancing - edema
    brain = spared * (1 - meninges)
    return Anatomy(
        depth=depth,
        meninges=spared * meninges,
        csf=brain * csf,
        gray=brain * gray,
        white=brain * (1 - csf - gray),
        necrosis=necrosis,
        enhancing=enhancing,
        edema=edema,
        labels=_labels(necrosis, enhancing, edema),
    )


def _draw_tumor(rng: Generator) -> _Tumor:
    side = rng.choice([-1.0, 1.0])
    middle = side * rng.uniform(20, 38), rng.uniform(-46, 46), rng.uniform(-4, 36)
    radius = float(np.clip(rng.lognormal(np.log(16), 0.3), 9, 28))
    rim = radius * rng.uniform(0.25, 0.9)
    return _Tumor(np.array(middle, dtype=np.float32), radius, rim, rng.uniform(14, 36), rng.uniform(0.1, 0.4))


def _positions(rng: Generator) -> FloatArray:
    """(3, X, Y, Z) on the coarse grid: where in an average head each place lies, so that no two heads are equal."""
    size = rng.uniform(0.93, 1.03, 3)
    axes = [(np.arange(_spline_basis(edge, _COARSE).shape[1]) - 1) * _COARSE - edge / 2 for edge in BRAIN_BOX]
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    for axis in range(3):
        bend = 2.2 * random_field(rng, grid.shape[1:], 18) + 0.7 * random_field(rng, grid.shape[1:], 7)
        grid[axis] = grid[axis] / size[axis] + bend
    return grid


def _mass_effect(positions: FloatArray, tumor: _Tumor) -> FloatArray:
    """Positions before the tumour grew: what lies near it now has been pushed outwards."""
    away = positions - tumor.middle[:, None, None, None]
    near = np.exp(-np.square(away).sum(axis=0) / (2.2 * tumor.radius) ** 2)
    before: FloatArray = positions - tumor.push * near * away
    return before


def _depth_in(positions: FloatArray, ellipsoid: _Ellipsoid) -> FloatArray:
    """Depth below the surface of an ellipsoid and of its mirror image, negative outside; near the surface in mm."""
    (x, y, z), half_axes, lower = ellipsoid
    axes = [half_axes[0], half_axes[1], np.where(positions[2] > z, np.float32(half_axes[2]), np.float32(lower))]
    away = [np.abs(positions[0]) - x, positions[1] - y, positions[2] - z]
    scaled = [np.abs(part / axis) + 1e-4 for part, axis in zip(away, axes, strict=True)]
    level = sum(part**_FULLNESS for part in scaled) ** (1 / _FULLNESS)
    slope = np.sqrt(sum((part ** (_FULLNESS - 1) / axis) ** 2 for part, axis in zip(scaled, axes, strict=True)))
    depth: FloatArray = np.minimum((1 - level) * level ** (_FULLNESS - 1) / slope, min(half_axes))
    return depth


def _smooth_max(one: FloatArray, other: FloatArray, width: float = 4.0) -> FloatArray:
    larger: FloatArray = np.maximum(one, other) + np.maximum(width - np.abs(one - other), 0) ** 2 / (4 * width)
    return larger


def _sulci(rng: Generator, positions: FloatArray, depth: FloatArray) -> FloatArray:
    """Distance to the nearest sulcus: sheets that stand on the surface and end 5 to 25 mm below it."""
    shape = np.array(BRAIN_BOX)[:, None, None, None]
    half_axes = np.array(_CEREBRUM[1], dtype=np.float32)[:, None, None, None]
    level = np.sqrt(np.square(positions / half_axes).sum(axis=0)) + 0.05
    # almost the same noise at every depth makes a sheet; the rest makes it lean
    outward = (0.75 / level + 0.25) * positions * 0.95 + shape / 2
    places = tuple(np.clip(np.rint(outward), 0, shape - 1).astype(np.intp))
    nearest = np.full(BRAIN_BOX, np.inf, dtype=np.float32)
    for spacing, deepest in ((8.0, 23.0), (5.5, 10.0)):
        folds = _fine(random_field(rng, BRAIN_BOX, spacing, folded=True)[places])
        end = np.minimum(deepest * (1 + 0.3 * random_field(rng, BRAIN_BOX, 20)), 25)
        sheet = np.square(folds * (0.55 * spacing)) + np.square(np.maximum(depth - end, 0))
        np.minimum(nearest, np.sqrt(sheet), out=nearest)
    return nearest


def _fissures(positions: FloatArray, tentorium: FloatArray) -> FloatArray:
    """Distance to the clefts between the hemispheres, over the temporal lobes and over the cerebellum."""
    x, y, z = (_fine(positions[axis]) for axis in range(3))
    nearest: FloatArray = np.hypot(x, np.maximum(_fine(_depth_in(positions, _CALLOSUM)), 0))
    behind = np.maximum(y + 12, 0)  # the tentorium ends behind the brainstem
    np.minimum(nearest, np.hypot(_fine(tentorium) * 0.6, behind), out=nearest)
    x, beside = np.abs(x), np.maximum(np.abs(y - 2) - 20, 0)
    sylvian = np.hypot(np.hypot(z + 8 + 0.35 * y, np.maximum(37 - x, 0)), beside)
    insula = np.hypot(np.hypot(x - 38 + np.square((y - 2) / 7), np.maximum(np.abs(z + 3) - 12, 0)), beside)
    np.minimum(nearest, np.minimum(sylvian, insula), out=nearest)
    return nearest


def _ventricles(rng: Generator, positions: FloatArray) -> FloatArray:
    """Depth inside the ventricles, negative outside."""
    width = rng.uniform(0.75, 1.6)
    inside: FloatArray = np.maximum(_depth_in(positions, _THIRD_VENTRICLE), _depth_in(positions, _FOURTH_VENTRICLE))
    folded = np.stack([np.abs(positions[0]), positions[1], positions[2]])
    for (*start, first), (*stop, last) in pairwise(_LATERAL_VENTRICLE):
        along = np.array(stop, dtype=np.float32) - np.array(start, dtype=np.float32)
        away = folded - np.array(start, dtype=np.float32)[:, None, None, None]
        share = np.clip(np.tensordot(along, away, axes=1) / (along @ along), 0, 1)
        away = np.linalg.norm(away - along[:, None, None, None] * share, axis=0)
        np.maximum(inside, width * (first + (last - first) * share) - away, out=inside)
    return inside


def _tumor_shares(
    rng: Generator, tumor: _Tumor, positions: FloatArray, depth: FloatArray, barrier: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Necrosis, enhancement and oedema: what share of each voxel they fill."""
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    stretch = rng.uniform(0.75, 1.3, 3)[:, None, None, None]
    away = np.tensordot(turn.astype(np.float32), positions - tumor.middle[:, None, None, None], axes=1) / stretch
    inward = tumor.radius - _fine(np.linalg.norm(away, axis=0).astype(np.float32))
    inward += tumor.radius * 0.16 * random_field(rng, BRAIN_BOX, 10) + 0.9 * random_field(rng, BRAIN_BOX, 4)
    inward = np.minimum(inward, depth - 2.5)
    rim = tumor.rim * (1 + 0.45 * random_field(rng, BRAIN_BOX, 8)) + 0.8 * random_field(rng, BRAIN_BOX, 3.5)

    reach = tumor.reach * (1 + 0.35 * random_field(rng, BRAIN_BOX, 14)) + 0.8 * random_field(rng, BRAIN_BOX, 4)
    across = np.maximum(-_fine(positions[0]) * np.sign(tumor.middle[0]) - 2, 0)  # the falx holds oedema back
    blurred = _fine(np.pad(barrier[::2, ::2, ::2], (1, 2)))  # fingers follow the white matter, not every sulcus
    outward = np.minimum(reach + inward - 1.1 * tumor.reach * blurred - 4 * across, depth - 2.5)

    joined = _joined((inward > 0) | (outward > 0), inward > 0.5 * tumor.radius)  # no islands
    inward, outward = np.where(joined, inward, -9), np.where(joined, outward, -9)

    core = soft_step(inward, 0.6)
    necrosis = soft_step(inward - np.maximum(rim, 1.5), 0.7) * core
    return necrosis, core - necrosis, soft_step(outward, 1.0) * (1 - core)


def _labels(necrosis: FloatArray, enhancing: FloatArray, edema: FloatArray) -> LabelArray:
    """The label that fills most of a voxel. A layer of enhancement keeps necrosis from touching anything else."""
    core = necrosis + enhancing >= 0.5
    labels = ((necrosis + enhancing + edema >= 0.5) * ED).astype(np.uint8)
    labels[core] = ET
    labels[~_dilated(~core) & (necrosis >= 0.5)] = NCR
    return labels


def _joined(inside: BoolArray, seed: BoolArray) -> BoolArray:
    """True where `inside` hangs together with `seed`, and a little around; to within two voxels."""
    allowed = inside[::2, ::2, ::2]
    reached = seed[::2, ::2, ::2] & allowed
    while (grown := _dilated(reached) & allowed).sum() > reached.sum():
        reached = grown
    blocks: BoolArray = np.kron(_dilated(reached), np.ones((2, 2, 2), dtype=bool))
    return blocks


def _dilated(inside: BoolArray) -> BoolArray:
    """True where a voxel or one of its six neighbours is; what touches the border is never in question here."""
    grown: BoolArray = inside.copy()
    for axis in range(3):
        for step in (-1, 1):
            grown |= np.roll(inside, step, axis)
    return grown


def _fine(coarse: FloatArray) -> FloatArray:
    """A coarse field on the voxels of the brain box."""
    return along_axes(coarse, [_spline_basis(edge, _COARSE) for edge in BRAIN_BOX])


def _spline_basis(size: int, spacing: float) -> FloatArray:
    """(size, knots): cubic B-splines on knots every `spacing` voxels, from one before the first voxel on."""
    knots = int((size - 1) / spacing) + 4
    steps = np.abs(np.arange(size)[:, None] / spacing + 1 - np.arange(knots))
    near = 2 / 3 - np.square(steps) + steps**3 / 2
    basis = np.where(steps < 1, near, np.maximum(2 - steps, 0) ** 3 / 6)
    return basis.astype(np.float32)
