"""Finding the files of cases by every name that BraTS has used, and reading them as one."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from ssa_fast.errors import CaseError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import errors_of_case, find_cases, named_case, read_case, read_reference, same_grid
from ssa_fast.volume.nifti import Volume, read_volume
from tests.cases import (
    ORIENTATIONS,
    SHAPE,
    brain_values,
    rotation,
    tumor_labels,
    turned_affine,
    write_case,
    write_nifti,
)

WORDS_2021 = ("t1", "t1ce", "t2", "flair")


def _touch(folder: Path, *names: str) -> Path:
    """Empty files: to find a case, nothing is read."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def _touch_case(folder: Path, name: str, words: Sequence[str] = (*MODALITIES, "seg")) -> Path:
    return _touch(folder / name, *(f"{name}-{word}.nii.gz" for word in words))


def _names(*paths: Path) -> list[str]:
    return [case.name for case in find_cases(paths)]


class TestFindCases:
    def test_a_case_folder_is_one_case_with_a_file_a_modality(self, tmp_path: Path) -> None:
        folder = _touch_case(tmp_path, "BraTS-SSA-00002-000")
        [case] = find_cases([folder])
        assert case.name == "BraTS-SSA-00002-000"
        assert case.folder == folder
        for modality in MODALITIES:
            assert case.one(modality) == folder / f"BraTS-SSA-00002-000-{modality}.nii.gz"
        assert case.reference == folder / "BraTS-SSA-00002-000-seg.nii.gz"

    def test_a_folder_of_cases_is_all_of_them_sorted_by_name(self, tmp_path: Path) -> None:
        for name in ("C", "A", "B"):
            _touch_case(tmp_path, name)
        assert _names(tmp_path) == ["A", "B", "C"]

    def test_several_paths_are_found_together_and_sorted(self, tmp_path: Path) -> None:
        one, two = _touch_case(tmp_path / "x", "B"), _touch_case(tmp_path / "y", "A")
        more = _touch_case(tmp_path / "z", "C").parent
        assert _names(one, more, two) == ["A", "B", "C"]

    def test_the_real_cases_are_fifteen_with_four_modalities_and_a_reference(self, shared_ssa: Path) -> None:
        cases = find_cases([shared_ssa])
        assert len(cases) == 15
        assert cases[0].name == "BraTS-SSA-00002-000"
        for case in cases:
            assert set(case.found) == {*MODALITIES, "seg"}
            assert {case.one(kind).parent for kind in case.found} == {shared_ssa / case.name}

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".NII.GZ"])
    @pytest.mark.parametrize(
        ("names", "case_name"),
        [
            ([f"BraTS-GLI-00000-001-{word}" for word in (*MODALITIES, "seg")], "BraTS-GLI-00000-001"),
            ([f"BraTS2021_00000_{word}" for word in (*WORDS_2021, "seg")], "BraTS2021_00000"),
            ([f"Brats18_2013_0_1_{word}" for word in (*WORDS_2021, "seg")], "Brats18_2013_0_1"),
            ([f"TCGA-02-0006_1996.08.23_{word}" for word in ("t1", "t1Gd", "t2", "flair", "seg")], None),
            ([*(word.upper() for word in MODALITIES), "seg"], "folder"),
        ],
        ids=["2023", "2021", "2018", "TCGA", "words alone"],
    )
    def test_the_names_of_every_release_give_the_modalities_of_2023(
        self, names: list[str], case_name: str | None, suffix: str, tmp_path: Path
    ) -> None:
        folder = _touch(tmp_path / "folder", *(name + suffix for name in names))
        [case] = find_cases([folder])
        assert case.name == (case_name or "TCGA-02-0006_1996.08.23")
        wanted = dict(zip((*MODALITIES, "seg"), names, strict=True))
        assert {kind: case.one(kind).name for kind in case.found} == {
            kind: name + suffix for kind, name in wanted.items()
        }

    def test_group_folders_of_the_tcia_release_are_walked_through(self, tmp_path: Path) -> None:
        release = tmp_path / "BraTS-Africa"
        _touch_case(release / "95_Glioma", "BraTS-SSA-00002-000")
        _touch_case(release / "51_OtherNeoplasms", "BraTS-SSA-00001-000")
        _touch(release, "BraTS-Africa_clinical.xlsx", "license.txt")
        assert _names(release) == ["BraTS-SSA-00001-000", "BraTS-SSA-00002-000"]
        assert _names(release / "95_Glioma") == ["BraTS-SSA-00002-000"]

    def test_cases_side_by_side_in_one_folder_are_told_apart_by_name(self, tmp_path: Path) -> None:
        folder = _touch(tmp_path / "flat", *(f"{name}-{word}.nii" for name in ("B", "A") for word in MODALITIES))
        cases = find_cases([folder])
        assert [case.name for case in cases] == ["A", "B"]
        assert all(set(case.found) == set(MODALITIES) for case in cases)

    def test_four_loose_files_in_any_order_are_one_case(self, tmp_path: Path) -> None:
        folder = _touch_case(tmp_path, "A")
        files = [folder / f"A-{modality}.nii.gz" for modality in ("t2f", "t1c", "t1n", "t2w")]
        [case] = find_cases(files)
        assert case.name == "A"
        assert {kind: case.one(kind) for kind in case.found} == dict(
            zip(("t2f", "t1c", "t1n", "t2w"), files, strict=True)
        )
        assert case.reference is None

    def test_loose_files_of_two_cases_are_two_cases(self, tmp_path: Path) -> None:
        folder = _touch(tmp_path, *(f"{name}_{word}.nii" for name in ("B", "A") for word in WORDS_2021))
        assert _names(*sorted(folder.iterdir())) == ["A", "B"]

    def test_hidden_and_partial_files_and_hidden_folders_are_passed_over(self, tmp_path: Path) -> None:
        folder = _touch_case(tmp_path, "A")
        _touch(folder, "._A-t1n.nii.gz", ".A-t1n.nii.gz", ".A-t1n.nii.gz.4711.partial", "A-t1n.nii.gz.part", ".t1n.nii")
        _touch_case(tmp_path / ".trash", "B")
        [case] = find_cases([tmp_path])
        assert case.name == "A"
        assert all(len(files) == 1 for files in case.found.values())

    def test_files_of_other_names_are_passed_over(self, tmp_path: Path) -> None:
        folder = _touch_case(tmp_path, "A")
        _touch(folder, "A-t1n.json", "A-adc.nii.gz", "A-t1n-mask.nii.gz", "notes.txt", "A-t1n")
        [case] = find_cases([tmp_path])
        assert set(case.found) == {*MODALITIES, "seg"}

    def test_a_lone_segmentation_is_no_case(self, tmp_path: Path) -> None:
        _touch_case(tmp_path, "A")
        _touch(tmp_path / "predictions", "A-seg.nii.gz", "B-seg.nii.gz")
        [case] = find_cases([tmp_path])
        assert case.reference == tmp_path / "A" / "A-seg.nii.gz"
        with pytest.raises(CaseError, match="no case found"):
            find_cases([tmp_path / "predictions"])

    @pytest.mark.parametrize("again", [".", "..", "A", "./../A/."])
    def test_a_path_given_twice_is_one_case(self, again: str, tmp_path: Path) -> None:
        folder = _touch_case(tmp_path / "cases", "A")
        second = {"A": folder}.get(again, folder / again)
        [case] = find_cases([folder, second])
        assert all(len(files) == 1 for files in case.found.values())

    def test_a_path_given_twice_by_a_link_is_one_case(self, tmp_path: Path) -> None:
        folder = _touch_case(tmp_path / "cases", "A")
        (tmp_path / "link").symlink_to(folder)
        assert _names(folder, tmp_path / "link") == ["A"]

    def test_a_loose_file_given_twice_is_one_file(self, tmp_path: Path) -> None:
        folder = _touch_case(tmp_path, "A", MODALITIES)
        files = sorted(folder.iterdir())
        [case] = find_cases([*files, *files])
        assert all(len(found) == 1 for found in case.found.values())

    def test_loose_files_given_by_relative_and_absolute_paths_are_one_case(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = _touch_case(tmp_path, "A", MODALITIES)
        monkeypatch.chdir(folder)
        [case] = find_cases([Path("A-t1n.nii.gz"), Path("A-t1c.nii.gz"), *sorted(folder.glob("*-t2*"))])
        assert set(case.found) == set(MODALITIES)

    def test_a_relative_path_finds_the_case_by_its_folders_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(_touch(tmp_path / "A", *(f"{modality}.nii" for modality in MODALITIES)))
        assert _names(Path()) == ["A"]
        assert _names(*(Path(f"{modality}.nii") for modality in MODALITIES)) == ["A"]

    def test_the_folder_above_is_a_case_by_its_own_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = _touch(tmp_path / "A", *(f"{modality}.nii" for modality in MODALITIES))
        monkeypatch.chdir(_touch(folder / "notes"))
        assert _names(Path("..")) == ["A"]
        assert _names(*(Path("..", f"{modality}.nii") for modality in MODALITIES)) == ["A"]

    def test_loose_files_given_by_a_detour_are_one_case(self, tmp_path: Path) -> None:
        files = sorted(_touch_case(tmp_path, "A", MODALITIES).iterdir())
        detours = [path.parent / ".." / "A" / path.name for path in files]
        [case] = find_cases([*files[:2], *detours])
        assert {kind: len(found) for kind, found in case.found.items()} == dict.fromkeys(MODALITIES, 1)

    def test_a_case_of_linked_files_bears_the_name_of_the_folder_it_is_found_in(self, tmp_path: Path) -> None:
        # as git-annex and DataLad lay out a data set: every file a link into a store of hashes
        store = _touch(tmp_path / "store", *(f"{modality}.nii" for modality in MODALITIES))
        (tmp_path / "cases" / "A").mkdir(parents=True)
        for modality in MODALITIES:
            (tmp_path / "cases" / "A" / f"{modality}.nii").symlink_to(store / f"{modality}.nii")
        assert _names(tmp_path / "cases") == ["A"]

    def test_two_cases_of_one_name_are_refused_and_both_folders_named(self, tmp_path: Path) -> None:
        one, two = _touch_case(tmp_path / "x", "A"), _touch_case(tmp_path / "y", "A")
        for paths in ([tmp_path], [one, two]):
            with pytest.raises(CaseError, match="two cases are called A") as caught:
                find_cases(paths)
            assert str(one) in str(caught.value)
            assert str(two) in str(caught.value)

    def test_a_case_that_is_there_with_t1_and_t1n_is_found_once_with_both(self, tmp_path: Path) -> None:
        folder = _touch(_touch_case(tmp_path, "A"), "A_t1.nii.gz")
        [case] = find_cases([folder])
        with pytest.raises(CaseError, match=r"case A: t1n is there 2 times .*A-t1n\.nii\.gz.*: keep one"):
            case.one("t1n")
        assert case.one("t1c") == folder / "A-t1c.nii.gz"

    def test_one_bad_case_does_not_hide_the_others(self, tmp_path: Path) -> None:
        _touch_case(tmp_path, "A", ["t1n"])
        _touch_case(tmp_path, "B")
        assert _names(tmp_path) == ["A", "B"]

    def test_a_folder_that_may_not_be_read_is_refused_and_not_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _touch_case(tmp_path, "A")
        locked = _touch_case(tmp_path, "B")
        scandir = os.scandir

        def refused(path: str) -> Iterator[os.DirEntry[str]]:
            if Path(path) == locked:  # as root runs the tests, no mode would lock it
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refused)
        wanted = rf"^{re.escape(str(locked))}: cannot be read \(Permission denied\): check that you may read it"
        with pytest.raises(CaseError, match=wanted):
            find_cases([tmp_path])

    def test_a_path_that_does_not_exist_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(
            CaseError, match=f"^{re.escape(str(tmp_path / 'none'))}: no such file or folder: check the path$"
        ):
            find_cases([tmp_path / "none"])

    def test_a_folder_without_cases_is_refused_with_the_names_wanted(self, tmp_path: Path) -> None:
        _touch(tmp_path / "empty", "notes.txt")
        _touch_case(tmp_path / "full", "A")
        with pytest.raises(CaseError, match=r"empty: no case found: wanted files like CASE-t1n\.nii\.gz"):
            find_cases([tmp_path / "full", tmp_path / "empty"])

    @pytest.mark.parametrize("name", ["image1.nii.gz", "A-t1n.txt", "A-dwi.nii"])
    def test_a_loose_file_of_an_unknown_name_is_refused_with_the_way_out(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match=f"{re.escape(name)}: its name ends in no modality: .* --t1n --t1c"):
            find_cases([_touch(tmp_path, name) / name])


class TestNamedCase:
    def _files(self, *names: str) -> dict[str, Path]:
        return {modality: Path("folder", name) for modality, name in zip(MODALITIES, names, strict=True)}

    def test_any_four_files_are_a_case_whatever_they_are_called(self) -> None:
        files = self._files("one.nii", "two.nii", "three.nii", "four.nii")
        case = named_case(files, "Erika")
        assert case.name == "Erika"
        assert case.folder == Path("folder")
        assert {modality: case.one(modality) for modality in MODALITIES} == files
        assert case.reference is None

    @pytest.mark.parametrize(
        ("t1", "case_name"),
        [
            ("BraTS-SSA-00002-000-t1n.nii.gz", "BraTS-SSA-00002-000"),
            ("BraTS2021_00000_t1.nii.gz", "BraTS2021_00000"),
            ("P7 pre.nii", "P7 pre"),
            ("mprage.nii", "mprage"),
            ("t1n.nii.gz", "folder"),
        ],
    )
    def test_a_case_without_a_name_is_called_after_its_t1(self, t1: str, case_name: str, tmp_path: Path) -> None:
        names = (t1, "gad.nii", "t2.nii", "dark.nii")
        files = {modality: tmp_path / "folder" / name for modality, name in zip(MODALITIES, names, strict=True)}
        assert named_case(files).name == case_name

    def test_a_reference_may_be_named_too(self) -> None:
        files = {**self._files("a.nii", "b.nii", "c.nii", "d.nii"), "seg": Path("elsewhere/e.nii")}
        assert named_case(files, "A").reference == Path("elsewhere/e.nii")


class TestReadCase:
    def test_volumes_are_in_channel_order_and_as_the_files_hold_them(self, tmp_path: Path) -> None:
        [files] = find_cases([write_case(tmp_path, "A", affine=turned_affine("LPS"))])
        case = read_case(files)
        assert case.name == "A"
        assert [volume.path.name for volume in case.volumes] == [f"A-{modality}.nii.gz" for modality in MODALITIES]
        for seed, volume in enumerate(case.volumes):
            np.testing.assert_array_equal(volume.array, brain_values(seed=seed))
        assert case.grid is case.volumes[0]

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
    def test_files_of_2021_read_like_those_of_2023(self, dtype: type[np.generic], suffix: str, tmp_path: Path) -> None:
        new = write_case(tmp_path / "new", "A")
        old = write_case(tmp_path / "old", "A", words=WORDS_2021, separator="_", dtype=dtype, suffix=suffix)
        for volume, wanted in zip(*(read_case(*find_cases([path])).volumes for path in (old, new)), strict=True):
            np.testing.assert_array_equal(volume.array, wanted.array)

    def test_a_real_case_is_240_240_155_voxels_of_1_mm(self, shared_ssa: Path) -> None:
        [files] = find_cases([shared_ssa / "BraTS-SSA-00041-000"])
        case = read_case(files)
        assert case.grid.array.shape == (240, 240, 155)
        assert nibabel.aff2axcodes(case.grid.affine) == ("R", "A", "S")

    def test_the_first_bad_modality_in_channel_order_is_named(self, tmp_path: Path) -> None:
        folder = write_case(tmp_path, "A")
        for modality in ("t2w", "t1c", "t2f"):
            (folder / f"A-{modality}.nii.gz").write_bytes(b"")
        with pytest.raises(CaseError, match=r"case A: .*A-t1c\.nii\.gz: the file is empty"):
            read_case(*find_cases([folder]))

    def test_a_missing_modality_is_named_with_what_is_there_and_the_name_to_give_it(self, tmp_path: Path) -> None:
        folder = write_case(tmp_path, "A", words=("t1n", "t1c", "t2f"), labels=False)
        wanted = r"case A: no t2w in .*A \(found: t1c, t1n, t2f\): add A-t2w\.nii\.gz"
        with pytest.raises(CaseError, match=wanted):
            read_case(*find_cases([folder]))

    @pytest.mark.parametrize("edge_mm", [0.998, 1.002, 1.2, 5.0])
    def test_voxels_that_are_not_1_mm_are_refused(self, edge_mm: float, tmp_path: Path) -> None:
        folder = write_case(tmp_path, "A", affine=np.diag([1, 1, edge_mm, 1]))
        with pytest.raises(CaseError, match=f"voxels are 1 x 1 x {edge_mm:g} mm, wanted 1 x 1 x 1 mm: resample"):
            read_case(*find_cases([folder]))

    @pytest.mark.parametrize("edge_mm", [0.9995, 1.0005])
    def test_voxels_of_1_mm_to_within_a_micrometre_are_read(self, edge_mm: float, tmp_path: Path) -> None:
        read_case(*find_cases([write_case(tmp_path, "A", affine=np.diag([1, 1, edge_mm, 1]))]))

    @pytest.mark.parametrize("degrees", [0, 11])
    @pytest.mark.parametrize(("one", "other"), [(0, 1), (0, 2), (1, 2)])
    @pytest.mark.parametrize("angle", [60, 89.9, 90.1, 120])
    def test_sheared_voxels_are_refused_even_if_every_edge_is_1_mm(
        self, angle: float, one: int, other: int, degrees: float, tmp_path: Path
    ) -> None:
        sheared = np.eye(4)
        sheared[one, other], sheared[other, other] = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        folder = write_case(tmp_path, "A", affine=rotation(degrees) @ sheared)
        axes = f"voxel axes {'XYZ'[one]} and {'XYZ'[other]} stand at {angle:g} degrees, wanted 90: resample"
        with pytest.raises(CaseError, match=rf"^case A: .*A-t1n\.nii\.gz: {axes}"):
            read_case(*find_cases([folder]))

    @pytest.mark.parametrize("axes", ["RAS", "LPI", "ASR"])
    @pytest.mark.parametrize("degrees", [3, 30, 45])
    def test_turned_voxels_are_read(self, degrees: float, axes: str, tmp_path: Path) -> None:
        read_case(*find_cases([write_case(tmp_path, "A", affine=rotation(degrees) @ turned_affine(axes))]))

    def test_an_empty_reference_is_no_reason_to_refuse_a_case(self, tmp_path: Path) -> None:
        folder = write_case(tmp_path, "A")
        (folder / "A-seg.nii.gz").write_bytes(b"")
        read_case(*find_cases([folder]))


class TestErrorsOfCase:
    def test_an_error_inside_begins_with_the_case_and_keeps_its_cause(self) -> None:
        with pytest.raises(CaseError, match=r"^case A: a\.nii: the file is empty$") as caught, errors_of_case("A"):
            raise CaseError("a.nii: the file is empty")
        assert str(caught.value.__cause__) == "a.nii: the file is empty"

    def test_an_error_that_names_the_case_already_is_left_as_it_is(self) -> None:
        with pytest.raises(CaseError, match=r"^case A: no seg$"), errors_of_case("A"):
            raise CaseError("case A: no seg")

    def test_other_errors_pass(self) -> None:
        with pytest.raises(KeyError), errors_of_case("A"):
            raise KeyError


class TestSameGrid:
    def _volume(self, name: str, affine: npt.NDArray[np.float64], shape: tuple[int, ...] = (2, 3, 4)) -> Volume:
        return Volume(path=Path(name), array=np.zeros(shape), affine=affine, header=nibabel.Nifti1Header())

    @pytest.mark.parametrize("place", [(0, 0), (1, 2), (2, 3)])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_affines_may_differ_by_a_thousandth_of_a_mm_and_no_more(self, place: tuple[int, int], sign: int) -> None:
        near, far = np.eye(4), np.eye(4)
        near[place] += sign * 0.9e-3
        far[place] += sign * 1.1e-3
        same_grid(self._volume("a", near), self._volume("b", np.eye(4)))
        with pytest.raises(CaseError, match=r"^a: affine differs by 0\.0011 mm from that of b \(at most 0\.001 mm\)"):
            same_grid(self._volume("a", far), self._volume("b", np.eye(4)))

    def test_shapes_must_be_equal(self) -> None:
        wanted = r"^a: shape \(4, 3, 2\) differs from \(2, 3, 4\) of b: register"
        with pytest.raises(CaseError, match=wanted):
            same_grid(self._volume("a", np.eye(4), (4, 3, 2)), self._volume("b", np.eye(4)))


class TestReadReference:
    @pytest.mark.parametrize("axes", ORIENTATIONS[::6])
    def test_labels_come_in_ras_axes(self, axes: str, tmp_path: Path) -> None:
        folder = write_case(tmp_path, "A", affine=turned_affine(axes))
        [files] = find_cases([folder])
        image = nibabel.load(folder / "A-seg.nii.gz")
        wanted = nibabel.as_closest_canonical(image).get_fdata()
        labels = read_reference(files, read_case(files))
        np.testing.assert_array_equal(labels, wanted)
        assert labels.dtype == np.uint8

    def test_the_reference_of_2021_has_label_3_for_its_4(self, tmp_path: Path) -> None:
        folder = write_case(tmp_path, "A")
        old = np.choose(tumor_labels(), [0, 1, 2, 4]).astype(np.uint8)
        write_nifti(folder / "A-seg.nii.gz", old)
        [files] = find_cases([folder])
        np.testing.assert_array_equal(read_reference(files, read_case(files)), tumor_labels())

    def test_a_case_without_reference_is_refused_by_name(self, tmp_path: Path) -> None:
        [files] = find_cases([write_case(tmp_path, "A", labels=False)])
        assert files.reference is None
        with pytest.raises(CaseError, match="case A: no seg in"):
            read_reference(files, read_case(files))

    def test_a_reference_that_cannot_be_read_is_refused_with_case_and_file(self, tmp_path: Path) -> None:
        folder = write_case(tmp_path, "A")
        (folder / "A-seg.nii.gz").write_bytes(b"")
        [files] = find_cases([folder])
        with pytest.raises(CaseError, match=r"^case A: .*A-seg\.nii\.gz: the file is empty"):
            read_reference(files, read_case(files))

    def test_two_references_are_refused(self, tmp_path: Path) -> None:
        folder = write_case(tmp_path, "A")
        shutil.copy(folder / "A-seg.nii.gz", folder / "A_seg.nii.gz")
        [files] = find_cases([folder])
        with pytest.raises(CaseError, match="case A: seg is there 2 times"):
            _ = files.reference

    @pytest.mark.parametrize(
        ("labels", "affine", "seen"),
        [
            (tumor_labels(SHAPE[::-1]), np.eye(4), r"shape \(18, 20, 24\) differs"),
            (tumor_labels(), turned_affine("RAS", origin_mm=(0, 0, 1)), "affine differs by 1 mm"),
        ],
        ids=["shape", "affine"],
    )
    def test_a_reference_on_another_grid_is_refused_with_case_and_file(
        self, labels: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64], seen: str, tmp_path: Path
    ) -> None:
        folder = write_case(tmp_path, "A")
        write_nifti(folder / "A-seg.nii.gz", labels, affine)
        [files] = find_cases([folder])
        with pytest.raises(CaseError, match=rf"case A: .*A-seg\.nii\.gz: {seen}"):
            read_reference(files, read_case(files))


def test_the_written_synthetic_case_is_what_its_description_says(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "A")
    assert sorted(path.name for path in folder.iterdir()) == [
        f"A-{kind}.nii.gz" for kind in ("seg", "t1c", "t1n", "t2f", "t2w")
    ]
    arrays = [read_volume(folder / f"A-{modality}.nii.gz").array for modality in MODALITIES]
    labels = read_volume(folder / "A-seg.nii.gz").array
    assert all((array[labels > 0] != 0).all() for array in arrays)
    assert all((array < 0).any() for array in arrays)
    assert set(np.unique(labels).tolist()) == {0, 1, 2, 3}


def test_a_case_without_voxels_keeps_its_grid_and_takes_no_memory(tmp_path: Path) -> None:
    case = read_case(find_cases([write_case(tmp_path, "A", affine=turned_affine("LPS", (1, 2, 3)))])[0])
    assert case.nbytes == 4 * 4 * math.prod(SHAPE)
    for emptied, whole in zip(case.without_voxels().volumes, case.volumes, strict=True):
        assert emptied.array.shape == whole.array.shape
        assert emptied.array.dtype == whole.array.dtype
        assert emptied.array.strides == (0, 0, 0)
        assert not emptied.array.any()
        assert emptied.header is whole.header
        np.testing.assert_array_equal(emptied.affine, whole.affine)
