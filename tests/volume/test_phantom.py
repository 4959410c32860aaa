"""Phantom cases: the form of real ones, anatomy that holds together, contrast that each modality really shows."""

import errno
import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ssa_fast.errors import CaseError, ConfigError
from ssa_fast.labels import ED, ET, MODALITIES, NCR
from ssa_fast.volume import phantom as module
from ssa_fast.volume.phantom import Phantom, is_phantom_name, make_phantom, phantom_name, write_phantoms
from ssa_fast.volume.phantom_anatomy import Anatomy

SEED = 3
WORDS = {*MODALITIES, "seg"}

# Smallest and largest median over the fifteen real cases, intensities in deviations from the brain's mean.
REAL_MEDIANS = {
    NCR: {"t1n": (-1.48, 0.27), "t1c": (-1.78, 2.78), "t2w": (-0.54, 3.98), "t2f": (-0.33, 2.52)},
    ED: {"t1n": (-0.23, 0.60), "t1c": (-0.37, 0.75), "t2w": (0.09, 1.91), "t2f": (0.91, 2.22)},
    ET: {"t1n": (-0.37, 1.07), "t1c": (0.32, 2.96), "t2w": (-0.37, 2.51), "t2f": (0.69, 2.04)},
}


@pytest.fixture(scope="module")
def made() -> tuple[Phantom, Anatomy]:
    """One phantom and the tissue that it was imaged from."""
    anatomies = []

    def recorded(rng: np.random.Generator) -> Anatomy:
        anatomies.append(anatomy(rng))
        return anatomies[-1]

    anatomy = module.make_anatomy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "make_anatomy", recorded)
        phantom = make_phantom(SEED)
    return phantom, anatomies[0]


@pytest.fixture(scope="module")
def phantom(made) -> Phantom:
    return made[0]


@pytest.fixture(scope="module")
def medians(made) -> dict[str, dict[str, float]]:
    """Median intensity by modality and tissue, in deviations from the brain's mean, of voxels that hold little else."""
    phantom, anatomy = made
    places = {name: module._in_volume(getattr(anatomy, name) > 0.9) for name in ("csf", "gray", "white")}
    places |= {name: phantom.labels == label for name, label in (("NCR", NCR), ("ED", ED), ("ET", ET))}
    found = {}
    for modality, volume in phantom.modalities.items():
        brain = volume[volume != 0]
        found[modality] = {
            name: float((np.median(volume[place]) - brain.mean()) / brain.std()) for name, place in places.items()
        }
    return found


@pytest.fixture
def instant(monkeypatch, phantom):
    """Writing without the seconds that making takes."""
    monkeypatch.setattr(module, "make_phantom", lambda seed, index: phantom)


def _neighbors(inside: np.ndarray) -> np.ndarray:
    grown = inside.copy()
    for axis in range(3):
        for step in (-1, 1):
            grown |= np.roll(inside, step, axis)
    return grown


def test_arrays_have_the_form_of_real_cases(phantom):
    assert tuple(phantom.modalities) == MODALITIES
    for volume in phantom.modalities.values():
        assert volume.shape == (240, 240, 155)
        assert volume.dtype == np.float32
    assert phantom.labels.shape == (240, 240, 155)
    assert phantom.labels.dtype == np.uint8
    assert phantom.affine.tolist() == [[1, 0, 0, 0], [0, 1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("seed", "index", "name"),
    [
        (0, 0, "BraTS-SSA-90000-000"),
        (0, 12, "BraTS-SSA-90012-000"),
        (7, 12, "BraTS-SSA-90012-007"),
        (12345, 9999, "BraTS-SSA-99999-12345"),
    ],
)
def test_name_is_one_that_no_real_case_and_no_other_phantom_has(seed, index, name):
    assert module.phantom_name(seed, index) == name


def test_name_tells_the_seed(phantom):
    assert phantom.name == f"BraTS-SSA-90000-00{SEED}"


def test_phantoms_of_two_seeds_lie_side_by_side(tmp_path, instant):
    first, second = (write_phantoms(tmp_path, cases=1, seed=seed) for seed in (0, 1))
    assert sorted(tmp_path.iterdir()) == [*first, *second]


def test_intensities_are_whole_numbers_and_zero_only_outside_one_brain(phantom):
    brain = phantom.modalities["t1n"] != 0
    for volume in phantom.modalities.values():
        assert np.array_equal(volume, np.rint(volume))
        assert np.array_equal(volume != 0, brain)
    assert not np.any(phantom.labels[~brain])


def test_brain_is_as_large_as_real_ones_and_lies_where_they_do(phantom):
    brain = phantom.modalities["t1n"] != 0
    assert 1.1e6 < np.count_nonzero(brain) < 1.75e6
    places = np.argwhere(brain)
    assert np.abs(places.mean(axis=0) - (121, 104, 80)).max() < 8  # mean of real cases
    assert (np.ptp(places, axis=0) < (144, 180, 144)).all()


def test_every_label_is_there_and_the_tumor_has_a_real_size(phantom):
    volumes = np.bincount(phantom.labels.ravel(), minlength=4)[1:]  # mm^3
    assert len(volumes) == 3
    assert volumes.min() > 50
    assert 15e3 < volumes.sum() < 350e3


def test_necrosis_touches_nothing_but_enhancement(phantom):
    around = _neighbors(phantom.labels == NCR)
    assert set(np.unique(phantom.labels[around])) == {NCR, ET}


def test_oedema_wraps_most_of_the_core(phantom):
    core = np.isin(phantom.labels, (NCR, ET))
    shell = phantom.labels[_neighbors(core) & ~core]
    assert np.mean(shell == ED) > 0.5


def test_whole_tumor_hangs_together(phantom):
    places = np.argwhere(phantom.labels)
    box = tuple(slice(low - 1, high + 2) for low, high in zip(places.min(axis=0), places.max(axis=0), strict=True))
    tumor = phantom.labels[box] > 0
    reached = np.isin(phantom.labels[box], (NCR, ET))
    while (grown := _neighbors(reached) & tumor).sum() > reached.sum():
        reached = grown
    assert reached.sum() > 0.99 * tumor.sum()


def test_t1n_shows_white_matter_brightest_and_the_tumor_dark(medians):
    t1n = medians["t1n"]
    assert t1n["white"] > t1n["gray"] > t1n["csf"]
    assert t1n["white"] > t1n["ED"] > t1n["NCR"] > t1n["csf"]


def test_t1c_shows_enhancement_brightest(medians):
    t1c = medians["t1c"]
    assert max(t1c, key=t1c.__getitem__) == "ET"
    assert t1c["white"] > t1c["gray"] > t1c["csf"]


def test_t2w_shows_fluid_brightest_and_white_matter_darkest(medians):
    t2w = medians["t2w"]
    assert t2w["csf"] > max(t2w["ED"], t2w["ET"])
    assert min(t2w["ED"], t2w["NCR"], t2w["ET"]) > t2w["gray"] > t2w["white"]


def test_t2f_shows_oedema_brightest_and_fluid_dark(medians):
    t2f = medians["t2f"]
    assert max(t2f, key=t2f.__getitem__) == "ED"
    assert t2f["csf"] < min(t2f["gray"], t2f["white"])
    assert min(t2f["NCR"], t2f["ET"]) > max(t2f["gray"], t2f["white"])


def test_tumor_intensities_lie_within_those_of_real_cases(medians):
    for name, label in (("NCR", NCR), ("ED", ED), ("ET", ET)):
        for modality, (low, high) in REAL_MEDIANS[label].items():
            assert low - 0.2 < medians[modality][name] < high + 0.2, (name, modality)


def test_same_seed_and_index_give_the_same_voxels(phantom):
    again = make_phantom(SEED)
    assert np.array_equal(again.labels, phantom.labels)
    for modality in MODALITIES:
        assert again.modalities[modality].tobytes() == phantom.modalities[modality].tobytes()


@pytest.mark.parametrize(("seed", "index"), [(SEED + 1, 0), (SEED, 1)])
def test_another_seed_or_index_gives_another_head(phantom, seed, index):
    other = make_phantom(seed, index)
    assert other.name == f"BraTS-SSA-{90000 + index}-00{seed}"
    assert np.mean((other.labels > 0)[phantom.labels > 0]) < 0.8
    assert not np.array_equal(other.modalities["t2f"], phantom.modalities["t2f"])
    assert not np.array_equal(other.modalities["t2f"] != 0, phantom.modalities["t2f"] != 0)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1), (0, 10_000)])
def test_seed_and_index_out_of_range_are_refused(seed, index):
    with pytest.raises(ConfigError, match=rf"got {seed} and {index}"):
        make_phantom(seed, index)


def test_written_files_read_back_as_made_with_the_header_of_real_ones(tmp_path, instant, phantom):
    (folder,) = write_phantoms(tmp_path / "new", cases=1, seed=SEED)
    assert folder == tmp_path / "new" / phantom.name
    assert {path.name for path in folder.iterdir()} == {f"{phantom.name}-{word}.nii.gz" for word in WORDS}
    for word, array in {**phantom.modalities, "seg": phantom.labels}.items():
        image = nibabel.load(folder / f"{phantom.name}-{word}.nii.gz")
        assert image.get_data_dtype() == np.float32
        assert np.array_equal(image.affine, phantom.affine)
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
        assert np.array_equal(np.asarray(image.dataobj), array)


def test_written_bytes_hold_no_time(tmp_path, instant):
    (folder,) = write_phantoms(tmp_path, cases=1, seed=SEED)
    for path in folder.iterdir():
        assert path.read_bytes()[3:8] == bytes(5)  # gzip flags: no file name; then four bytes of time


def test_existing_folder_is_refused_before_anything_is_written(tmp_path, instant):
    taken = tmp_path / "BraTS-SSA-90001-003"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(CaseError, match="BraTS-SSA-90001-003 exists already"):
        write_phantoms(tmp_path, cases=2, seed=SEED)
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [
        Path("BraTS-SSA-90001-003"),
        Path("BraTS-SSA-90001-003/notes.txt"),
    ]
    assert (taken / "notes.txt").read_text() == "mine"


def test_interrupted_case_leaves_nothing_and_is_named(tmp_path, instant, monkeypatch, phantom):
    real, calls = gzip.compress, []

    def full_disk(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(module.gzip, "compress", full_disk)
    with pytest.raises(OSError, match="no space left") as caught:
        write_phantoms(tmp_path, cases=1, seed=SEED)
    assert caught.value.filename == str(tmp_path / phantom.name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cases", [0, -1, 10_001])
def test_number_of_cases_out_of_range_is_refused(tmp_path, cases):
    with pytest.raises(ConfigError, match=f"got {cases}"):
        write_phantoms(tmp_path / "new", cases=cases, seed=SEED)
    assert not (tmp_path / "new").exists()


def test_a_negative_seed_is_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(ConfigError, match="seed must be >= 0, got -1"):
        write_phantoms(tmp_path / "new", cases=1, seed=-1)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("seed", "index"), [(0, 0), (1234, 9999)])
def test_a_phantom_is_known_by_its_name_and_no_real_case_is(seed: int, index: int) -> None:
    assert is_phantom_name(phantom_name(seed, index))
    for name in ("BraTS-SSA-00229-000", "A-001", "BraTS-SSA-90000", "my-BraTS-SSA-90000-000"):
        assert not is_phantom_name(name)
