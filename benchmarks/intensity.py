"""Cases with their intensities prepared in another way, written as files, for trainings that compare such ways.

python -m benchmarks.intensity percentiles CASES --out FOLDER
python -m benchmarks.intensity bias CASES --out FOLDER               # by SimpleITK's N4, which must be installed
python -m benchmarks.intensity histogram CASES --out FOLDER --fold 1   # a scale of the cases that are not in the fold

The z-score follows as ever, in `ssa-fast prepare`, `train` and `infer`. Voxels that are 0 stay 0.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.config import load_toml
from ssa_fast.errors import BackendUnavailable, ConfigError
from ssa_fast.labels import MODALITIES
from ssa_fast.train.splits import Splits
from ssa_fast.volume.case import CaseFiles, find_cases
from ssa_fast.volume.nifti import Volume, read_volume

__all__ = ["clipped", "main", "standard_scale", "to_scale", "without_bias"]

Values: TypeAlias = npt.NDArray[np.float32]
Scale: TypeAlias = npt.NDArray[np.float64]

_KEPT = (0.5, 99.5)  # percentiles that nnU-Net clips CT to, and many clip MRI to
_LANDMARKS = (1, *range(10, 100, 10), 99)  # percentiles
_SHRINK = 4  # times along each axis, for N4: a bias field is smooth
_N4_ITERATIONS = (50, 50, 30, 20)
_SPLITS = Path(__file__).parents[1] / "data" / "splits" / "brats_ssa_15_groups.toml"


def clipped(inside: Values) -> Values:
    """Values of a brain, those beyond the percentiles 0.5 and 99.5 set to these."""
    low, high = np.percentile(inside, _KEPT)
    return np.clip(inside, low, high).astype(np.float32)


def standard_scale(brains: Iterable[Values]) -> Scale:
    """The mean landmarks (percentiles 1, 10, ..., 90, 99) of brains, each stretched so that its ends are 1 and 100.

    Source: Nyúl and Udupa, "On standardizing the MR image intensity scale", Magnetic Resonance in Medicine 1999.
    """
    found = [np.percentile(inside, _LANDMARKS) for inside in brains]
    stretched = np.stack([1 + 99 * (marks - marks[0]) / (marks[-1] - marks[0]) for marks in found])
    return np.asarray(stretched.mean(axis=0), dtype=np.float64)


def to_scale(inside: Values, scale: Scale) -> Values:
    """Values of a brain, their landmarks moved to those of `scale`: straight between two, and on beyond the last."""
    marks = np.percentile(inside, _LANDMARKS)
    moved = np.interp(inside, marks, scale)
    for end, next_to_it, is_beyond in ((0, 1, inside < marks[0]), (-1, -2, inside > marks[-1])):
        slope = (scale[end] - scale[next_to_it]) / (marks[end] - marks[next_to_it])
        moved[is_beyond] = scale[end] + slope * (inside[is_beyond] - marks[end])
    return moved.astype(np.float32)


def without_bias(image: Values) -> Values:
    """An image (X, Y, Z), divided by the bias field that N4 finds in its non-zero voxels.

    Raises BackendUnavailable without SimpleITK.
    Source: Tustison et al., "N4ITK: improved N3 bias correction", IEEE Transactions on Medical Imaging 2010.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise BackendUnavailable("N4 needs SimpleITK: pip install SimpleITK==2.5.7") from error
    lowest = float(image.min())
    whole = SimpleITK.GetImageFromArray(image - min(lowest, 0.0))  # N4 takes logarithms
    mask = SimpleITK.GetImageFromArray((image != 0).astype(np.uint8))
    corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(_N4_ITERATIONS)
    corrector.Execute(SimpleITK.Shrink(whole, [_SHRINK] * 3), SimpleITK.Shrink(mask, [_SHRINK] * 3))
    field = SimpleITK.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(whole))
    return np.asarray(image / np.exp(field), dtype=np.float32)


def _write(files: CaseFiles, folder: Path, change: Callable[[str, Values], Values]) -> None:
    """The case's images, each changed, and its labels as they are, in a folder of its name."""
    target = folder / files.name
    target.mkdir(parents=True)
    for modality in MODALITIES:
        volume = read_volume(files.one(modality))
        changed = change(modality, volume.array.astype(np.float32))
        changed[(changed == 0) & (volume.array != 0)] = np.finfo(np.float32).tiny  # what is 0 would be no brain
        nibabel.save(nibabel.Nifti1Image(changed, volume.affine), target / f"{files.name}-{modality}.nii")
    labels = files.one("seg")
    shutil.copy(labels, target / f"{files.name}-seg{''.join(labels.suffixes)}")


def _inside(volume: Volume) -> Values:
    return np.asarray(volume.array[volume.array != 0], dtype=np.float32)


def _by(way: Callable[[Values], Values], image: Values) -> Values:
    image[image != 0] = way(image[image != 0])
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=["percentiles", "histogram", "bias"])
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--splits", type=Path, default=_SPLITS)
    parser.add_argument("--fold", type=int, help="the fold whose cases a histogram's scale must not know")
    asked = parser.parse_args()
    cases = find_cases(asked.cases)
    if asked.way == "histogram":
        if asked.fold is None:
            raise ConfigError("histogram needs --fold: the scale is of the cases that are trained on")
        held_out = load_toml(Splits, asked.splits).folds[asked.fold]
        known = [files for files in cases if files.name not in held_out]
        scales = {kind: standard_scale(_inside(read_volume(files.one(kind))) for files in known) for kind in MODALITIES}
    for files in cases:
        print(files.name, flush=True)
        if asked.way == "percentiles":
            _write(files, asked.out, lambda _, image: _by(clipped, image))
        elif asked.way == "bias":
            _write(files, asked.out, lambda _, image: without_bias(image))
        else:
            _write(files, asked.out, lambda kind, image: _by(lambda inside: to_scale(inside, scales[kind]), image))


if __name__ == "__main__":
    main()
