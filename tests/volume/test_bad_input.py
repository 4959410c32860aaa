"""Bad input: each kind made from a real case and from a synthetic one, and refused in one clear line."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from isal import igzip

from ssa_fast.errors import CaseError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import find_cases, read_case
from ssa_fast.volume.preprocess import Brain, crop_to_brain
from tests.cases import write_case

Voxels = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bad:
    """One way to spoil a case folder, and what the message must say: what was seen, then what was wanted or to do."""

    name: str
    spoil: Callable[[Path], None]
    words: tuple[str, ...]  # {case} its name, {folder} its folder, {shape} of its volumes


def _file(folder: Path, modality: str) -> Path:
    return folder / f"{folder.name}-{modality}.nii.gz"


def _with_voxels(modality: str, change: Callable[[Voxels], Voxels]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        image = nibabel.load(_file(folder, modality))
        voxels = change(np.asanyarray(image.dataobj).astype(np.float32))
        changed = nibabel.Nifti1Image(voxels, image.affine, image.header)
        _file(folder, modality).write_bytes(igzip.compress(changed.to_bytes(), 0))  # level 0: these tests have to wait

    return spoil


def _with_voxel(modality: str, value: float) -> Callable[[Path], None]:
    def change(voxels: Voxels) -> Voxels:
        voxels[tuple(edge // 2 for edge in voxels.shape)] = value
        return voxels

    return _with_voxels(modality, change)


def _with_affine(modalities: tuple[str, ...], change: Callable[[Affine], Affine]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for modality in modalities:
            content = igzip.decompress(_file(folder, modality).read_bytes())
            header = nibabel.Nifti1Header(content[:348])
            header.set_sform(change(header.get_best_affine()), code="scanner")
            _file(folder, modality).write_bytes(igzip.compress(header.binaryblock + content[348:], 0))

    return spoil


def _moved(millimeters: float) -> Callable[[Affine], Affine]:
    shift = np.zeros((4, 4))
    shift[2, 3] = millimeters
    return lambda affine: affine + shift


def _with_bytes(modality: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = _file(folder, modality)
        path.write_bytes(change(path.read_bytes()))

    return spoil


def _flip_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    flipped = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    return content[:middle] + flipped + content[middle + 64 :]


def _without_t2w(folder: Path) -> None:
    _file(folder, "t2w").unlink()


def _with_a_second_t1c(folder: Path) -> None:
    shutil.copyfile(_file(folder, "t1c"), folder / f"{folder.name}_t1ce.nii.gz")


def _with_a_namesake(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "51_OtherNeoplasms" / folder.name)


T1N, T1C, T2W, T2F = ("{case}-" + modality + r"\.nii\.gz" for modality in MODALITIES)

BAD_INPUTS = [
    Bad("missing modality", _without_t2w, ("no t2w in {folder}", r"\(found: .*t1n.*\)", "add " + T2W)),
    Bad(
        "double modality",
        _with_a_second_t1c,
        ("t1c is there 2 times", T1C, r"{case}_t1ce\.nii\.gz", "in {folder}: keep one"),
    ),
    Bad("empty file", _with_bytes("t2f", lambda _: b""), (T2F, r"the file is empty \(0 bytes\)", "copy it again")),
    Bad(
        "cut-off gzip",
        _with_bytes("t1n", lambda content: content[: len(content) // 2]),
        (T1N, r"cut off after \d+ bytes", "copy it again"),
    ),
    Bad("flipped bytes", _with_bytes("t1c", _flip_the_middle), (T1C, "the gzip stream is damaged", "copy it again")),
    Bad(
        "text",
        _with_bytes("t1n", lambda _: b"no image at all\n"),
        (T1N, r"not a gzip file \(it begins with b'no i'\)", "copy it again"),
    ),
    Bad(
        "gzip of text",
        _with_bytes("t2w", lambda _: igzip.compress(b"no image at all\n" * 100)),
        (T2W, r"not a NIfTI file \(it begins with b'no i'\)", "convert it"),
    ),
    Bad(
        "4-D",
        _with_voxels("t1c", lambda voxels: np.stack([voxels[..., :4]] * 2, axis=-1)),
        (T1C, r"shape is \(\d+, \d+, 4, 2\)", "wanted one 3-D volume", "one volume a file"),
    ),
    Bad("NaN", _with_voxel("t1n", np.nan), (T1N, r"1 of \d+ voxels are NaN or infinite", "mend them")),
    Bad("infinity", _with_voxel("t2f", -np.inf), (T2F, r"1 of \d+ voxels are NaN or infinite", "mend them")),
    Bad(
        "unlike shapes",
        _with_voxels("t2w", lambda voxels: voxels[:, :, :-1]),
        (T2W, r"shape \(\d+, \d+, \d+\) differs from {shape} of", T1N, "to one grid"),
    ),
    Bad(
        "affines 0.01 mm apart",
        _with_affine(("t1c",), _moved(0.01)),
        (T1C, r"affine differs by 0\.01 mm from that of", T1N, r"at most 0\.001 mm", "to one grid"),
    ),
    Bad(
        "another orientation",
        _with_affine(("t2f",), lambda affine: affine @ np.diag([-1.0, 1, 1, 1])),
        (T2F, "affine differs by 2 mm", T1N, "to one grid"),
    ),
    Bad(
        "voxels of 1.2 mm",
        _with_affine(MODALITIES, lambda affine: affine @ np.diag([1, 1, 1.2, 1])),
        (T1N, r"voxels are 1 x 1 x 1\.2 mm", "wanted 1 x 1 x 1 mm", "resample"),
    ),
    Bad("all zero", _with_voxels("t2f", np.zeros_like), (T2F, "every voxel of t2f is zero", "export the image again")),
    Bad(
        "constant",
        _with_voxels("t1c", lambda voxels: np.where(voxels != 0, np.float32(7), 0).astype(np.float32)),
        ("t1c", "all non-zero voxels have the value 7", "export the image again"),
    ),
    Bad(
        "two cases of one name",
        _with_a_namesake,
        ("two cases are called {case}", "{folder}", "51_OtherNeoplasms", "rename one"),
    ),
]


@pytest.fixture(params=["synthetic", "real"])
def case_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A case folder that may be spoiled, alone in its parent folder."""
    if request.param == "synthetic":
        return write_case(tmp_path / "synthetic", "BraTS-SSA-99999-000")
    folder: Path = request.getfixturevalue("real_case")
    return folder


def _brain(cases: Path) -> Brain:
    """The way of every case up to the network."""
    [brain] = [crop_to_brain(read_case(files)) for files in find_cases([cases])]
    return brain


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_input_is_refused_in_one_line_that_says_where_what_and_what_to_do(bad: Bad, case_folder: Path) -> None:
    shape = nibabel.load(_file(case_folder, "t1n")).shape
    bad.spoil(case_folder)
    with pytest.raises(CaseError) as caught:
        _brain(case_folder.parent)
    message = str(caught.value)
    assert "\n" not in message
    assert case_folder.name in message
    facts = {"case": case_folder.name, "folder": case_folder, "shape": shape}
    for words in bad.words:
        pattern = re.sub(r"\{(\w+)\}", lambda name: re.escape(str(facts[name[1]])), words)
        assert re.search(pattern, message), f"{pattern!r} is not in: {message}"


def test_affines_half_a_thousandth_of_a_mm_apart_are_accepted(case_folder: Path) -> None:
    _with_affine(("t1c",), _moved(0.0005))(case_folder)
    assert _brain(case_folder.parent).foreground.any()


def test_a_brain_of_negative_intensities_gives_what_the_positive_one_gives(case_folder: Path) -> None:
    wanted = _brain(case_folder.parent)
    for modality in MODALITIES:
        _with_voxels(modality, lambda voxels: np.where(voxels != 0, voxels - voxels.max() - 1, 0))(case_folder)
    brain = _brain(case_folder.parent)
    assert brain.box == wanted.box
    np.testing.assert_array_equal(brain.foreground, wanted.foreground)
    np.testing.assert_allclose(brain.array, wanted.array, atol=1e-3)
