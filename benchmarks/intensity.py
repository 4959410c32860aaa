"""Cases with their intensities prepared in another way, written as files, for trainings that compare such ways.

python -m benchmarks.intensity percentiles CASES --out FOLDER
python -m benchmarks.intensity bias CASES --out FOLDER               # by SimpleITK's N4, which must be installed
python -m benchmarks.intensity histogram CASES --out FOLDER --fold 1   # a scale of the cases that are not in the fold

The z-score follows as ever, in `ssa-fast prepare`, `train` and `infer`. Voxels that are 0 stay 0.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.errors import BackendUnavailable
from ssa_fast.labels import MODALITIES
from ssa_fast.train.splits import split_cases
from ssa_fast.volume.case import CaseFiles, find_cases
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.nifti import Volume, read_volume, without_suffix

__all__ = ["clipped", "main", "standard_scale", "to_scale", "without_bias", "write_changed"]

Scale: TypeAlias = npt.NDArray[np.float64]
Change: TypeAlias = Callable[[str, FloatArray], FloatArray]
"""Of a modality, by its name: (X, Y, Z) in, as much out."""

_KEPT = (0.5, 99.5)  # percentiles that nnU-Net clips CT to, and many clip MRI to
_LANDMARKS = (1, *range(10, 100, 10), 99)  # percentiles: the ends and the deciles between
_SHRINK = 4  # times along each axis, for N4: a bias field is smooth
_N4_ITERATIONS = (50, 50, 30, 20)  # at most, from the coarsest level of the field to the finest
_SPLITS = Path(__file__).parents[1] / "data" / "splits" / "brats_ssa_15_groups.toml"


def clipped(inside: FloatArray) -> FloatArray:
    """Values of a brain, those beyond the percentiles 0.5 and 99.5 set to these."""
    low, high = np.percentile(inside, _KEPT)
    return np.clip(inside, low, high).astype(np.float32)


def standard_scale(brains: Iterable[FloatArray]) -> Scale:
    """The mean landmarks (percentiles 1, 10, ..., 90, 99) of brains, each stretched so that its ends are 1 and 100.

    Source: Nyúl, Udupa and Zhang, "New variants of a method of MRI scale standardization", IEEE TMI 2000.
    """
    found = [np.percentile(inside, _LANDMARKS) for inside in brains]
    stretched = np.stack([1 + 99 * (marks - marks[0]) / (marks[-1] - marks[0]) for marks in found])
    return np.asarray(stretched.mean(axis=0), dtype=np.float64)


def to_scale(inside: FloatArray, scale: Scale) -> FloatArray:
    """Values of a brain, their landmarks moved to those of `scale`: straight between two, and on beyond the last.

    Landmarks of one value have no slope: beyond such an end values stay at its landmark.
    """
    marks = np.percentile(inside, _LANDMARKS)
    moved = np.interp(inside, marks, scale)
    for end, next_to_it, is_beyond in ((0, 1, inside < marks[0]), (-1, -2, inside > marks[-1])):
        if marks[end] != marks[next_to_it]:
            slope = (scale[end] - scale[next_to_it]) / (marks[end] - marks[next_to_it])
            moved[is_beyond] = scale[end] + slope * (inside[is_beyond] - marks[end])
    return moved.astype(np.float32)


def without_bias(array: FloatArray) -> FloatArray:
    """A modality (X, Y, Z), divided by the bias field that N4 finds in its non-zero voxels.

    N4 takes logarithms, so where there are negative values all are moved up by the lowest first; the z-score takes
    that out again. Raises BackendUnavailable without SimpleITK.
    Source: Tustison et al., "N4ITK: improved N3 bias correction", IEEE Transactions on Medical Imaging 2010.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise BackendUnavailable("N4 needs SimpleITK: pip install SimpleITK==2.5.7") from error
    inside = array != 0
    raised = array - np.float32(min(float(array.min()), 0.0))
    whole = SimpleITK.GetImageFromArray(raised)
    foreground = SimpleITK.GetImageFromArray(inside.astype(np.uint8))
    corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(_N4_ITERATIONS)
    corrector.Execute(SimpleITK.Shrink(whole, [_SHRINK] * 3), SimpleITK.Shrink(foreground, [_SHRINK] * 3))
    field = SimpleITK.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(whole))
    return np.where(inside, raised / np.exp(field), 0).astype(np.float32)


def write_changed(files: CaseFiles, folder: Path, change: Change) -> None:
    """The case in a folder of its name, each modality (X, Y, Z) changed, its labels as they are."""
    target = folder / files.name
    target.mkdir(parents=True)
    for modality in MODALITIES:
        volume = read_volume(files.one(modality))
        changed = change(modality, volume.array.astype(np.float32))
        changed[(changed == 0) & (volume.array != 0)] = np.finfo(np.float32).tiny  # what is 0 would be no brain
        nibabel.save(nibabel.Nifti1Image(changed, volume.affine), target / f"{files.name}-{modality}.nii")
    labels = files.one("seg")
    shutil.copy(labels, target / f"{files.name}-seg{labels.name[len(without_suffix(labels)) :]}")


def _inside(volume: Volume) -> FloatArray:
    return np.asarray(volume.array[volume.array != 0], dtype=np.float32)


def _by(way: Callable[[FloatArray], FloatArray], array: FloatArray) -> FloatArray:
    inside = array != 0
    array[inside] = way(array[inside])
    return array


def _change(way: str, cases: Sequence[CaseFiles], splits: Path, fold: int | None) -> Change:
    """What `way` does to a modality; for a histogram the scale of those cases that are not in the fold is found."""
    if way == "percentiles":
        return lambda _, array: _by(clipped, array)
    if way == "bias":
        return lambda _, array: without_bias(array)
    known = split_cases(cases, splits, fold).training
    scales = {
        modality: standard_scale(_inside(read_volume(files.one(modality))) for files in known)
        for modality in MODALITIES
    }
    return lambda modality, array: _by(lambda inside: to_scale(inside, scales[modality]), array)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=["percentiles", "histogram", "bias"])
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--splits", type=Path, default=_SPLITS)
    parser.add_argument("--fold", type=int, help="the fold whose cases a histogram's scale must not know")
    asked = parser.parse_args()
    cases = find_cases(asked.cases)
    change = _change(asked.way, cases, asked.splits, asked.fold)
    for files in cases:
        print(files.name, flush=True)
        write_changed(files, asked.out, change)


if __name__ == "__main__":
    main()
