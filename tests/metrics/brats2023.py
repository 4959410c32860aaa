"""The published rules of BraTS 2023 for its SSA task, written out plainly: whole arrays, scipy alone, nothing of ours.

Sources: the challenge's script (Saluja, BraTS-2023-Metrics), and surface-distance (DeepMind), which it calls.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["REGIONS", "brats2023"]

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
Areas = npt.NDArray[np.float64]

REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
_TOUCHING, _GROWING = np.ones((3, 3, 3)), ndimage.generate_binary_structure(3, 2)
_FAR = 374.0
_B, _R = math.sqrt(3) / 8, math.sqrt(2)
_SIZES = (
    0,
    _B,
    2 * _B,
    3 * _B,
    _R / 2,
    4 * _B,
    _R / 2 + _B,
    1,
    0.5 + 3 * _B,
    6 * _B,
    0.5 + 4 * _B,
    _R,
    _R / 2 + 4 * _B,
)
# the surface of 1 mm voxels in each of the 256 cubes of eight, from surface-distance 0.1: a letter is one of _SIZES
_CUBES = (
    "abbebecibceieiihbecicidjcggmgmkibceicggmcdijgkmieiihgmkigkmilgge"
    "bccgeigmcdgkijmieigmihkigklgmigecdgkgklgdfkdkdgcijmimigekdgcgccb"
    "bccgcgdkegimimjicgdkdkfdglkgkgdcegimglkgikhimgieimjikgdcmgiegccb"
    "egglimkgikmghiieimkgjidcmggciecbikmgmggcjdicicebhiieiecbicebebba"
)
_AREAS = np.array([_SIZES[ord(letter) - ord("a")] for letter in _CUBES])


def brats2023(reference: Labels, predicted: Labels, edge_mm: float = 1) -> dict[str, dict[str, float]]:
    """Region -> measure -> value, by the names of the profile; voxels are cubes of `edge_mm`."""
    return {
        region: _region(np.isin(reference, its), np.isin(predicted, its), edge_mm) for region, its in REGIONS.items()
    }


def _region(reference: Mask, predicted: Mask, edge_mm: float) -> dict[str, float]:
    joined, count = ndimage.label(ndimage.binary_dilation(reference, _GROWING, iterations=3), _TOUCHING)
    parts, total = ndimage.label(predicted, _TOUCHING)
    dice, hd95, found, touched = [], [], 0, set()
    for number in range(1, count + 1):
        lesion = (joined == number) & reference
        mine = set(np.unique(parts[ndimage.binary_dilation(lesion, _GROWING, iterations=3)])) - {0}
        touched |= mine
        if lesion.sum() * edge_mm**3 <= 50:
            continue
        answer = np.isin(parts, list(mine))
        found += bool(mine)
        dice.append(2 * (lesion & answer).sum() / (lesion.sum() + answer.sum()))
        hd95.append(_hd95(lesion, answer) * edge_mm if mine else _FAR)
    missed, false = len(dice) - found, total - len(touched)
    both, either, neither = (reference & predicted).sum(), reference.sum() + predicted.sum(), ~(reference | predicted)
    is_one_sided = reference.any() != predicted.any()
    return {
        "lesion_dice": sum(dice) / (len(dice) + false) if dice or false else 1.0,
        "lesion_hd95_mm": (sum(hd95) + false * _FAR) / (len(dice) + false) if dice or false else 0.0,
        "lesions_found": found,
        "lesions_missed": missed,
        "false_alarms": false,
        "dice": 2 * both / either if either else 1.0,
        "hd95_mm": _FAR if is_one_sided else _hd95(reference, predicted) * edge_mm if either else 0.0,
        "recall": both / reference.sum() if reference.any() else float(not predicted.any()),
        "specificity": neither.sum() / (~reference).sum() if not reference.all() else 0.0,
    }


def _hd95(one: Mask, other: Mask) -> float:
    """In voxels: the larger of the distances that 95 % of either surface's area lie within."""
    cubes = [_cubes(mask) for mask in (one, other)]
    surfaces = [(cube != 0) & (cube != 255) for cube in cubes]
    reach = []
    for cube, own, there in ((cubes[0], *surfaces), (cubes[1], *surfaces[::-1])):
        distances = ndimage.distance_transform_edt(~there)[own]
        order = np.lexsort((_AREAS[cube[own]], distances))
        shares = np.cumsum(_AREAS[cube[own]][order]) / _AREAS[cube[own]][order].sum()
        place = min(int(np.searchsorted(shares, 0.95)), len(order) - 1)
        reach.append(float(distances[order][place]))
    return max(reach)


def _cubes(mask: Mask) -> npt.NDArray[np.int64]:
    """At each corner of voxels, which of the eight around it are in the mask, as bits."""
    weights = np.reshape([128, 64, 32, 16, 8, 4, 2, 1], (2, 2, 2))
    padded = np.pad(mask, 1).astype(np.int64)
    x, y, z = (edge - 1 for edge in padded.shape)
    return sum(padded[i : i + x, j : j + y, k : k + z] * weights[i, j, k] for i, j, k in product(range(2), repeat=3))
