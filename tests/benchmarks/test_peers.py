"""The peers of the benchmarks see what our network sees, and give what it gives."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.peers.contestant import Contestant, Kind, missing_peers
from benchmarks.peers.scores import changes, dice, label_agreement, mean_of
from ssa_fast.labels import MODALITIES
from tests.cases import turned_affine, write_nifti
from tests.networks import tiny_bundle

WINDOW = (32, 32, 32)
ONE_WINDOW, MANY_WINDOWS = "One-001", "Many-001"
BRAINS = {ONE_WINDOW: (32, 32, 32), MANY_WINDOWS: (64, 48, 40)}  # the second: 3 x 2 x 2 windows
# Of the brain. One window: rounding, and nnU-Net's sums in float16, which a brain that filled a window's corners would
# feel more. Many: MONAI's weights are 0.001 or more, nnU-Net's peak lies half a voxel off, and a random network's
# labels change from voxel to voxel.
LEAST_AGREEMENT = {ONE_WINDOW: 0.999, MANY_WINDOWS: 0.985}


def _write_case(folder: Path, name: str) -> Path:
    """A brain that touches its box, off the middle of its volume, in LPS; each modality is zero in a part of it."""
    rng = np.random.default_rng(len(name))
    shape = BRAINS[name]
    box = tuple(slice(start, start + edge) for start, edge in zip((5, 7, 6), shape, strict=True))
    for channel, modality in enumerate(MODALITIES):
        coarse = rng.normal(100 * channel, 300, [edge // 4 for edge in shape]).round()
        coarse[coarse == 0] = 1
        brain = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)
        brain[~_ellipsoid(shape)] = 0
        brain[8 + channel : 16, 8:20, 8:20] = 0
        volume = np.zeros([edge + 15 for edge in shape], dtype=np.float32)
        volume[box] = brain
        write_nifti(folder / name / f"{name}-{modality}.nii.gz", volume, turned_affine("LPS", (3, 4, 5)))
    return folder / name


def _ellipsoid(shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """That touches all six faces, voxels' middles taken."""
    axes = np.meshgrid(*(np.linspace(-1, 1, edge) for edge in shape), indexing="ij")
    return np.asarray(sum(axis**2 for axis in axes) < 1.01)


def _brain(case: Path) -> npt.NDArray[np.bool_]:
    return np.asarray(nibabel.load(case / f"{case.name}-t1n.nii.gz").dataobj) != 0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), "batch", "none")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("cases")
    return [_write_case(folder, name) for name in BRAINS]


@pytest.fixture(scope="module")
def results(bundle: Path, cases: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, dict[str, Path]]:
    """The files of both cases, by each contestant."""
    if missing := missing_peers():
        pytest.skip(f"{' and '.join(missing)} not installed: pip install 'ssa-fast[bench]'")
    out, found = tmp_path_factory.mktemp("results"), {}
    kinds: tuple[Kind, ...] = ("ours", "nnunet", "monai")
    for kind in kinds:
        with Contestant(kind=kind, bundle=bundle, window=WINDOW, log=out / f"{kind}.log", threads=1) as contestant:
            found[kind] = {case.name: contestant.segment(case, out / kind).path for case in cases}
    return found


@pytest.mark.slow
@pytest.mark.peers
def test_peers_and_ours_give_the_same_labels(results: dict[Kind, dict[str, Path]], cases: list[Path]) -> None:
    for case, (one, other) in itertools.product(cases, itertools.combinations(results, 2)):
        brain = _brain(case)
        agreement = label_agreement(results[one][case.name], results[other][case.name], brain)
        assert agreement >= LEAST_AGREEMENT[case.name], (case.name, one, other, agreement)
        found = nibabel.load(results[one][case.name])
        assert len(np.unique(np.asarray(found.dataobj)[brain])) > 1, "a network of one label agrees with itself anyhow"


@pytest.mark.slow
@pytest.mark.peers
def test_peers_write_on_the_grid_of_the_case(results: dict[Kind, dict[str, Path]], cases: list[Path]) -> None:
    for case, paths in itertools.product(cases, results.values()):
        image, found = nibabel.load(case / f"{case.name}-t1n.nii.gz"), nibabel.load(paths[case.name])
        assert found.shape == image.shape
        np.testing.assert_allclose(found.affine, image.affine)


def test_opening_is_timed_apart_from_cases(bundle: Path, cases: list[Path], tmp_path: Path) -> None:
    with Contestant(kind="ours", bundle=bundle, window=None, log=tmp_path / "log", threads=1) as contestant:
        to_open = contestant.seconds_to_open
        first = contestant.segment(cases[0], tmp_path / "out")
        second = contestant.segment(cases[0], tmp_path / "out")
    assert to_open == contestant.seconds_to_open
    assert to_open > 0.1, "Python and an engine do not start in a tenth of a second"
    assert min(first.seconds, second.seconds) > 0
    assert second.peak_bytes >= first.peak_bytes > 10_000_000


def test_a_contestant_that_fails_says_why(tmp_path: Path) -> None:
    absent = Contestant(kind="ours", bundle=tmp_path / "absent.onnx", window=None, log=tmp_path / "log", threads=1)
    with pytest.raises(RuntimeError, match=r"ours ended: .*absent\.onnx: cannot be read"), absent:
        pass


def test_scores_of_files_worked_by_hand(tmp_path: Path) -> None:
    """Of 8 voxels: WT 4 and 2, both 2; TC 2 and 1, both 1; ET 1 and none."""
    one = write_nifti(tmp_path / "one.nii.gz", np.array([[[0, 0, 0, 0], [2, 2, 1, 3]]], dtype=np.uint8))
    other = write_nifti(tmp_path / "other.nii.gz", np.array([[[0, 0, 0, 0], [2, 0, 1, 0]]], dtype=np.uint8))
    found = dice(one, other)
    assert found == pytest.approx({"WT": 4 / 6, "TC": 2 / 3, "ET": 0})
    brain = np.array([[[False] * 4, [True] * 4]])
    assert label_agreement(one, other, brain) == 0.5
    assert mean_of([found, dice(one, one)]) == {"WT": 0.83333, "TC": 0.83333, "ET": 0.5}
    assert changes(dice(one, one), found) == {"WT": 0.33333, "TC": 0.33333, "ET": 1.0}
