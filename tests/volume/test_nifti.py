"""NIfTI in and out, against nibabel's own reading."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path
from typing import Any, NoReturn

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssa_fast.errors import CaseError, ShapeError
from ssa_fast.volume.nifti import Volume, is_nifti, read_labels, read_volume, without_suffix, write_labels, write_maps
from tests.cases import ORIENTATIONS, SHAPE, brain_values, rotation, tumor_labels, turned_affine, write_nifti

IMAGE_CLASSES = [nibabel.Nifti1Image, nibabel.Nifti2Image]
DTYPES = [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]
OBLIQUE = rotation(7) @ turned_affine("LPS", origin_mm=(90.5, -126.25, 72))
PATIENT = b"MUSTERMANN^ERIKA"


def _header_bytes(image_class: type[nibabel.Nifti1Image]) -> int:
    return int(image_class.header_class().structarr.dtype.itemsize)


def _write_as_stored(
    path: Path,
    stored: npt.NDArray[Any],
    *,
    image_class: type[nibabel.Nifti1Image] = nibabel.Nifti1Image,
    endianness: str = "<",
    slope_and_intercept: tuple[float, float] | None = None,
) -> Path:
    """A file whose voxels on disk are exactly `stored`, in the byte order and with the scaling given."""
    header = image_class.header_class(endianness=endianness)
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_sform(OBLIQUE, code="scanner")
    header["vox_offset"] = _header_bytes(image_class) + 4
    if slope_and_intercept is not None:
        header["scl_slope"], header["scl_inter"] = slope_and_intercept
    voxels = stored.astype(stored.dtype.newbyteorder(endianness)).tobytes(order="F")
    content = header.binaryblock + bytes(4) + voxels  # four bytes: no header extension
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def _read_or_refused(path: Path) -> Volume | None:
    """The volume, or None if it is refused in one line that names the file."""
    try:
        return read_volume(path)
    except CaseError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
    return None


@pytest.fixture
def like(tmp_path: Path) -> Path:
    """A file of scaled int16 on an oblique affine, whose header says a patient's name wherever there is room."""
    image = nibabel.Nifti1Image(brain_values().astype(np.int16), OBLIQUE)
    image.header.set_slope_inter(0.5, -3)
    image.header.set_xyzt_units("mm", "sec")
    image.header["cal_max"] = 600
    for field, size in (("descrip", 80), ("db_name", 18), ("aux_file", 24), ("intent_name", 16)):
        image.header[field] = PATIENT[:size]
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", PATIENT))
    path = tmp_path / "like.nii.gz"
    nibabel.save(image, path)
    return path


class TestReadVolume:
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("slope_and_intercept", [None, (0.25, -100)], ids=["plain", "scaled"])
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("endianness", ["<", ">"], ids=["little", "big"])
    @pytest.mark.parametrize("image_class", IMAGE_CLASSES)
    def test_voxels_are_those_that_were_stored_and_that_nibabel_reads(
        self,
        image_class: type[nibabel.Nifti1Image],
        endianness: str,
        dtype: type[np.generic],
        slope_and_intercept: tuple[float, float] | None,
        suffix: str,
        tmp_path: Path,
    ) -> None:
        stored = np.random.default_rng(0).integers(0, 255, (5, 4, 3)).astype(dtype)
        path = _write_as_stored(
            tmp_path / f"a{suffix}",
            stored,
            image_class=image_class,
            endianness=endianness,
            slope_and_intercept=slope_and_intercept,
        )
        volume = read_volume(path)
        slope, intercept = slope_and_intercept or (1, 0)
        np.testing.assert_array_equal(volume.array, stored * slope + intercept)
        np.testing.assert_array_equal(volume.array, nibabel.load(path).get_fdata())
        np.testing.assert_array_equal(volume.affine, nibabel.load(path).affine)
        assert volume.path == path

    def test_a_scaled_file_comes_as_float_and_a_plain_one_in_its_own_type(self, tmp_path: Path) -> None:
        stored = np.ones((2, 2, 2), dtype=np.int16)
        assert read_volume(_write_as_stored(tmp_path / "a.nii", stored)).array.dtype == np.int16
        scaled = _write_as_stored(tmp_path / "b.nii", stored, slope_and_intercept=(0.5, 0))
        assert read_volume(scaled).array.dtype.kind == "f"

    def test_a_suffix_in_capitals_is_read(self, tmp_path: Path) -> None:
        small = write_nifti(tmp_path / "a.nii.gz", brain_values())
        capital = small.rename(tmp_path / "A.NII.GZ")
        np.testing.assert_array_equal(read_volume(capital).array, brain_values())

    def test_a_gzip_stream_of_two_members_is_read_whole(self, tmp_path: Path) -> None:
        content = write_nifti(tmp_path / "a.nii", brain_values()).read_bytes()
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
        np.testing.assert_array_equal(read_volume(path).array, brain_values())

    def test_zeros_after_a_gzip_stream_are_padding(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii.gz", brain_values())
        path.write_bytes(path.read_bytes() + bytes(512))
        np.testing.assert_array_equal(read_volume(path).array, brain_values())

    @pytest.mark.parametrize("members", [1, 2])
    @pytest.mark.parametrize("tail", [b"x", b"<html>502 Bad Gateway</html>", b"\x1f"])
    def test_what_follows_a_whole_gzip_stream_is_not_called_cut_off(
        self, tail: bytes, members: int, tmp_path: Path
    ) -> None:
        path = write_nifti(tmp_path / "a.nii.gz", brain_values())
        path.write_bytes(members * path.read_bytes() + tail)
        wanted = rf"a\.nii\.gz: {len(tail)} foreign bytes follow the gzip stream: copy it again"
        with pytest.raises(CaseError, match=wanted):
            read_volume(path)

    def test_a_second_member_that_is_cut_off_is_called_so(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii.gz", brain_values())
        path.write_bytes(path.read_bytes() + path.read_bytes()[:-9])
        with pytest.raises(CaseError, match=r"a\.nii\.gz: the gzip stream is cut off"):
            read_volume(path)

    def test_a_real_file_is_read_as_nibabel_reads_it(self, shared_ssa: Path) -> None:
        path = next(shared_ssa.glob("*/*-t1c.nii.gz"))
        volume = read_volume(path)
        image = nibabel.load(path)
        np.testing.assert_array_equal(volume.array, np.asanyarray(image.dataobj))
        np.testing.assert_array_equal(volume.affine, image.affine)
        assert volume.array.dtype == np.float32

    def test_a_file_that_is_absent_and_a_folder_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(
            CaseError, match=r"none\.nii: cannot be read \(No such file.*\): check that it is a file you may read"
        ):
            read_volume(tmp_path / "none.nii")
        with pytest.raises(CaseError, match=r"cannot be read \(Is a directory\): check that it is a file"):
            read_volume(tmp_path)

    def test_a_link_to_data_that_was_not_fetched_is_told_as_such(self, tmp_path: Path) -> None:
        path = tmp_path / "a.nii.gz"
        path.symlink_to(Path("..") / "annex" / "MD5E-s1")  # as git-annex and DataLad leave it
        with pytest.raises(CaseError, match=r"a\.nii\.gz: cannot be read.*: it is a link to .*MD5E-s1: fetch that"):
            read_volume(path)

    @pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
    def test_voxels_that_are_no_real_numbers_are_refused(self, dtype: npt.DTypeLike, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 4), dtype=dtype))
        with pytest.raises(CaseError, match=r"a\.nii: voxels are .*, wanted real numbers"):
            read_volume(path)

    @pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3, 2), (5, 4, 3, 1, 3), (5, 4, 0, 1)])
    def test_what_is_not_one_3d_volume_is_refused_with_its_shape(self, shape: tuple[int, ...], tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", np.ones(shape, dtype=np.int16))
        with pytest.raises(CaseError, match=f"shape is {re.escape(str(shape))}, wanted one 3-D volume"):
            read_volume(path)

    @pytest.mark.parametrize("more", [(1,), (1, 1)])
    @pytest.mark.parametrize("slope", [None, 0.5])
    def test_a_volume_stored_as_a_series_of_one_is_that_volume(
        self, slope: float | None, more: tuple[int, ...], tmp_path: Path
    ) -> None:
        stored = brain_values().astype(np.int16)
        scaling = None if slope is None else (slope, 0.0)
        path = _write_as_stored(tmp_path / "a.nii.gz", stored.reshape(*SHAPE, *more), slope_and_intercept=scaling)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, stored * (slope or 1))
        assert volume.array.flags.f_contiguous

    def test_an_affine_without_inverse_is_refused(self, tmp_path: Path) -> None:
        path = _write_as_stored(tmp_path / "a.nii", np.ones((2, 2, 2), dtype=np.int16))
        content = bytearray(path.read_bytes())
        content[280 : 280 + 48] = bytes(48)  # srow_x, srow_y, srow_z
        path.write_bytes(content)
        with pytest.raises(CaseError, match="the affine has no inverse"):
            read_volume(path)

    @pytest.mark.parametrize(
        "shape", [(32767, 32767, 32767), (32767, 32767, 64)], ids=["100 TB", "more than the file holds"]
    )
    def test_a_header_that_promises_more_voxels_than_there_are_is_refused_without_taking_the_memory(
        self, shape: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_memory(_: object) -> NoReturn:
            raise MemoryError

        # where the reader takes the promised memory before it looks at what is there
        monkeypatch.setattr(nibabel.volumeutils, "bytearray", no_memory, raising=False)
        path = _write_as_stored(tmp_path / "a.nii", np.ones((4, 4, 4), dtype=np.float32))
        content = bytearray(path.read_bytes())
        content[42:48] = np.array(shape, dtype="<i2").tobytes()
        path.write_bytes(content)
        with pytest.raises(CaseError, match=r"a\.nii: damaged or cut-off"):
            read_volume(path)

    def _spoilt(self, path: Path, field: str, value: object) -> Path:
        """A file of ones with one wrong field in its header."""
        content = bytearray(_write_as_stored(path, np.ones((4, 4, 4), dtype=np.int16)).read_bytes())
        header = nibabel.Nifti1Header(bytes(content[:348]))
        header[field] = value
        content[:348] = header.binaryblock
        path.write_bytes(content)
        return path

    def test_a_header_that_is_refused_is_not_told_twice(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = self._spoilt(tmp_path / "a.nii", "datatype", 3)  # no type has this code
        with pytest.raises(CaseError, match=r"a\.nii: damaged or cut-off NIfTI file \(.*data code 3"):
            read_volume(path)
        assert not caplog.records
        assert capfd.readouterr() == ("", "")

    def test_a_header_that_is_mended_in_reading_is_warned_of_with_its_file(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = self._spoilt(tmp_path / "a.nii", "pixdim", [1, -1, 1, 1, 1, 1, 1, 1])
        read_volume(path)
        [record] = caplog.records
        assert (record.name, record.levelname) == ("ssa_fast.volume.nifti", "WARNING")
        assert record.getMessage().startswith(f"{path}: pixdim[1,2,3] should be positive")
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("kept", [0.5, 0.999])
    def test_an_uncompressed_file_that_is_cut_off_is_refused(self, kept: float, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", brain_values())
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        with pytest.raises(CaseError, match=r"a\.nii: damaged or cut-off NIfTI file") as caught:
            read_volume(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).count(str(path)) == 1

    @pytest.mark.parametrize("length", [1, 3, 4, 347])
    def test_a_file_shorter_than_a_header_is_no_nifti(self, length: int, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", brain_values())
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(CaseError, match="not a NIfTI file"):
            read_volume(path)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
    @given(place=st.integers(0, 351), value=st.integers(0, 255))
    def test_one_wrong_byte_in_the_header_is_read_or_refused_in_one_line(
        self, place: int, value: int, tmp_path: Path
    ) -> None:
        path = _write_as_stored(tmp_path / "a.nii", np.ones((4, 4, 4), dtype=np.int16))
        content = bytearray(path.read_bytes())
        content[place] = value
        path.write_bytes(content)
        if (volume := _read_or_refused(path)) is not None:
            assert volume.array.ndim == 3
            assert np.isfinite(volume.affine).all()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
    @given(data=st.data(), value=st.integers(1, 255))
    def test_one_wrong_byte_in_a_gzip_stream_is_harmless_or_refused_in_one_line(
        self, data: st.DataObject, value: int, tmp_path: Path
    ) -> None:
        path = write_nifti(tmp_path / "a.nii.gz", tumor_labels())
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= value
        path.write_bytes(content)
        if (volume := _read_or_refused(path)) is not None:  # the time and the system that the gzip header tells
            np.testing.assert_array_equal(volume.array, tumor_labels())


class TestReadLabels:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_labels_come_as_uint8_whatever_type_they_were_stored_in(
        self, dtype: type[np.generic], tmp_path: Path
    ) -> None:
        path = write_nifti(tmp_path / "a.nii.gz", tumor_labels().astype(dtype))
        labels = read_labels(path)
        np.testing.assert_array_equal(labels.array, tumor_labels())
        assert labels.array.dtype == np.uint8

    def test_label_4_of_brats_2021_becomes_3(self, tmp_path: Path) -> None:
        old = np.array([[[0, 1, 2, 4]]], dtype=np.int16)
        assert read_labels(write_nifti(tmp_path / "a.nii", old)).array.tolist() == [[[0, 1, 2, 3]]]

    def test_labels_stored_as_a_series_of_one_are_labels(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii.gz", tumor_labels()[..., np.newaxis])
        np.testing.assert_array_equal(read_labels(path).array, tumor_labels())

    def test_a_case_without_tumour_has_labels_of_0(self, tmp_path: Path) -> None:
        assert not read_labels(write_nifti(tmp_path / "a.nii", np.zeros(SHAPE, dtype=np.uint8))).array.any()

    @pytest.mark.parametrize(
        ("values", "seen"),
        [
            ([0, 5], "0, 5"),
            ([0, 3, 4], "0, 3, 4"),
            ([0, 1.5], "0, 1.5"),
            ([-1, 0], "-1, 0"),
            ([0, 255], "0, 255"),
            ([0, 256], "0, 256"),  # which are 0 to 3 in eight bits
            ([-256, 259], "-256, 259"),
            ([0, 1e30], r"0, 1e\+30"),
            ([-1e30, 3], r"-1e\+30, 3"),
        ],
    )
    def test_values_that_are_no_labels_are_refused_and_named(
        self, values: list[float], seen: str, tmp_path: Path
    ) -> None:
        path = write_nifti(tmp_path / "a.nii", np.array([[values]], dtype=np.float32))
        with pytest.raises(CaseError, match=f"a\\.nii: label values are {seen}: wanted 0 1 2 3"):
            read_labels(path)

    def test_an_intensity_image_taken_for_labels_is_refused_in_a_short_line(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", brain_values())
        with pytest.raises(CaseError, match="label values are") as caught:
            read_labels(path)
        assert len(str(caught.value)) < 300 + len(str(path))


class TestWriteLabels:
    def test_what_is_written_comes_back(self, like: Path, tmp_path: Path) -> None:
        path = tmp_path / "out" / "a.nii.gz"
        write_labels(path, tumor_labels(), read_volume(like))
        np.testing.assert_array_equal(nibabel.load(path).get_fdata(), tumor_labels())
        np.testing.assert_array_equal(read_labels(path).array, tumor_labels())
        assert list(path.parent.iterdir()) == [path]

    def test_the_map_lies_on_the_grid_of_its_input(self, like: Path, tmp_path: Path) -> None:
        write_labels(tmp_path / "a.nii.gz", tumor_labels(), read_volume(like))
        image, wanted = nibabel.load(tmp_path / "a.nii.gz"), nibabel.load(like)
        assert image.shape == wanted.shape
        np.testing.assert_array_equal(image.affine, wanted.affine)
        assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
        np.testing.assert_array_equal(image.header["pixdim"], wanted.header["pixdim"])
        assert image.header.get_xyzt_units() == ("mm", "sec")

    @pytest.mark.parametrize("image_class", IMAGE_CLASSES)
    def test_the_map_of_a_series_of_one_has_three_axes(
        self, image_class: type[nibabel.Nifti1Image], tmp_path: Path
    ) -> None:
        series = brain_values().astype(np.int16)[..., np.newaxis]
        path = _write_as_stored(tmp_path / "a.nii.gz", series, image_class=image_class)
        write_labels(tmp_path / "b.nii.gz", tumor_labels(), read_volume(path))
        image = nibabel.load(tmp_path / "b.nii.gz")
        assert image.shape == SHAPE
        assert image.header["dim"].tolist() == [3, *SHAPE, 1, 1, 1, 1]
        np.testing.assert_array_equal(image.get_fdata(), tumor_labels())
        np.testing.assert_array_equal(image.affine, nibabel.load(path).affine)

    @pytest.mark.parametrize("degrees", [0, 3])
    @pytest.mark.parametrize("axes", ORIENTATIONS[::5])
    def test_shape_and_affine_are_kept_in_every_orientation(self, axes: str, degrees: int, tmp_path: Path) -> None:
        affine = rotation(degrees) @ turned_affine(axes, origin_mm=(-90, 126, 72))
        grid = write_nifti(tmp_path / "a.nii", brain_values(), affine)
        write_labels(tmp_path / "b.nii", tumor_labels(), read_volume(grid))
        image = nibabel.load(tmp_path / "b.nii")
        assert "".join(nibabel.aff2axcodes(image.affine)) == axes
        np.testing.assert_array_equal(image.affine, nibabel.load(grid).affine)
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
        np.testing.assert_array_equal(image.get_fdata(), tumor_labels())

    @pytest.mark.parametrize("image_class", IMAGE_CLASSES)
    @pytest.mark.parametrize("qform_code", range(5))
    @pytest.mark.parametrize("sform_code", range(6))
    def test_header_codes_and_both_affines_are_kept(
        self, qform_code: int, sform_code: int, image_class: type[nibabel.Nifti1Image], tmp_path: Path
    ) -> None:
        image = image_class(brain_values().astype(np.int16), None)
        image.header.set_qform(OBLIQUE, code=qform_code)
        image.header.set_sform(turned_affine("RPI", origin_mm=(1, 2, 3)), code=sform_code)
        nibabel.save(image, tmp_path / "a.nii")
        write_labels(tmp_path / "b.nii", tumor_labels(), read_volume(tmp_path / "a.nii"))
        before, after = (nibabel.load(tmp_path / name).header for name in ("a.nii", "b.nii"))
        assert (int(after["qform_code"]), int(after["sform_code"])) == (qform_code, sform_code)
        np.testing.assert_array_equal(after.get_qform(), before.get_qform())
        np.testing.assert_array_equal(after.get_sform(), before.get_sform())

    @pytest.mark.parametrize("image_class", IMAGE_CLASSES)
    @pytest.mark.parametrize("endianness", ["<", ">"])
    @pytest.mark.parametrize("slope_and_intercept", [None, (0.25, -100)], ids=["plain", "scaled"])
    def test_the_map_is_unscaled_uint8_in_the_nifti_version_and_byte_order_of_its_input(
        self,
        slope_and_intercept: tuple[float, float] | None,
        endianness: str,
        image_class: type[nibabel.Nifti1Image],
        tmp_path: Path,
    ) -> None:
        grid = _write_as_stored(
            tmp_path / "a.nii",
            brain_values().astype(np.int16),
            image_class=image_class,
            endianness=endianness,
            slope_and_intercept=slope_and_intercept,
        )
        write_labels(tmp_path / "b.nii", tumor_labels(), read_volume(grid))
        image = nibabel.load(tmp_path / "b.nii")
        assert type(image) is image_class
        assert image.header.endianness == endianness
        assert image.get_data_dtype() == np.uint8
        assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
        np.testing.assert_array_equal(image.dataobj.get_unscaled(), tumor_labels())

    @pytest.mark.parametrize("shape", [SHAPE[::-1], SHAPE[:2], (*SHAPE, 1), (*SHAPE[:2], SHAPE[2] - 1)])
    def test_labels_of_another_shape_are_refused_and_nothing_is_written(
        self, shape: tuple[int, ...], like: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "out" / "a.nii.gz"
        wanted = rf"a\.nii\.gz: labels of shape {re.escape(str(shape))}, wanted \(24, 20, 18\) of like\.nii\.gz"
        with pytest.raises(ShapeError, match=wanted):
            write_labels(path, np.zeros(shape, dtype=np.uint8), read_volume(like))
        assert not path.parent.exists()

    def test_the_display_range_of_the_input_is_not_kept(self, like: Path, tmp_path: Path) -> None:
        write_labels(tmp_path / "a.nii", tumor_labels(), read_volume(like))
        header = nibabel.load(tmp_path / "a.nii").header
        assert (header["cal_min"], header["cal_max"]) == (0, 0)

    def test_no_extension_and_no_free_text_of_the_input_is_kept(self, like: Path, tmp_path: Path) -> None:
        assert PATIENT in gzip.decompress(like.read_bytes())
        write_labels(tmp_path / "a.nii", tumor_labels(), read_volume(like))
        content = (tmp_path / "a.nii").read_bytes()
        assert len(nibabel.load(tmp_path / "a.nii").header.extensions) == 0
        assert len(content) == 352 + tumor_labels().size
        assert b"MUSTERMANN" not in content

    def test_writing_leaves_the_input_as_it_was(self, like: Path, tmp_path: Path) -> None:
        volume = read_volume(like)
        header, labels = volume.header.binaryblock, tumor_labels()
        write_labels(tmp_path / "a.nii.gz", labels, volume)
        assert volume.header.binaryblock == header
        np.testing.assert_array_equal(labels, tumor_labels())

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_equal_labels_give_equal_bytes(self, suffix: str, like: Path, tmp_path: Path) -> None:
        volume = read_volume(like)
        for name, order in (("a", "C"), ("b", "F")):
            write_labels(tmp_path / f"{name}{suffix}", np.asarray(tumor_labels(), order=order), volume)
        content = (tmp_path / f"a{suffix}").read_bytes()
        assert content == (tmp_path / f"b{suffix}").read_bytes()
        if suffix == ".nii.gz":
            assert content[4:8] == bytes(4)  # where gzip would tell the time

    def test_voxels_begin_right_after_the_header_wherever_they_began_in_the_input(self, tmp_path: Path) -> None:
        image = nibabel.Nifti1Image(brain_values().astype(np.int16), OBLIQUE)
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", 10_000 * b"x"))
        nibabel.save(image, tmp_path / "a.nii")
        write_labels(tmp_path / "b.nii", tumor_labels(), read_volume(tmp_path / "a.nii"))
        content = (tmp_path / "b.nii").read_bytes()
        assert content[352:] == tumor_labels().tobytes(order="F")

    def test_only_gz_is_compressed(self, like: Path, tmp_path: Path) -> None:
        for name in ("a.nii", "a.nii.gz"):
            write_labels(tmp_path / name, tumor_labels(), read_volume(like))
        assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes()) == (tmp_path / "a.nii").read_bytes()

    def test_a_failed_write_leaves_the_old_map(
        self, like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> NoReturn:
            raise OSError("No space left on device")

        path = tmp_path / "out" / "a.nii.gz"
        write_labels(path, tumor_labels(), read_volume(like))
        old = path.read_bytes()
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_labels(path, np.zeros_like(tumor_labels()), read_volume(like))
        assert path.read_bytes() == old
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("A-t1n.nii.gz", "A-t1n"),
        ("A-t1n.nii", "A-t1n"),
        ("A.b-t1n.NII.GZ", "A.b-t1n"),
        ("W39_1998.09.19_seg.nii", "W39_1998.09.19_seg"),
    ],
)
def test_names_of_nifti_files_lose_their_whole_suffix(name: str, stem: str) -> None:
    assert is_nifti(Path("folder") / name)
    assert without_suffix(Path("folder") / name) == stem


@pytest.mark.parametrize("name", ["A-t1n.nii.gz.part", "A-t1n.gz", "A-t1n.json", "nii", "A-t1n.hdr"])
def test_other_names_are_no_nifti(name: str) -> None:
    assert not is_nifti(Path(name))


def _grid(folder: Path, image_class: type[nibabel.Nifti1Image], endianness: str, axes: str = "LPS") -> Volume:
    header = image_class.header_class(endianness=endianness)
    header["descrip"] = b"a name"
    header.set_xyzt_units("mm", "sec")
    image = image_class(np.ones(SHAPE, dtype=np.int16), turned_affine(axes, (3, -5, 7)), header)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a name"))
    nibabel.save(image, folder / "grid.nii.gz")
    return read_volume(folder / "grid.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("image_class", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_maps_are_read_back_on_the_grid_of_the_case(
    image_class: type[nibabel.Nifti1Image], endianness: str, suffix: str, tmp_path: Path
) -> None:
    like = _grid(tmp_path, image_class, endianness)
    maps = np.random.default_rng(0).random((3, *SHAPE), dtype=np.float32)
    path = tmp_path / f"maps{suffix}"
    for kind, error in (("uint8", 0.5 / 255 + 1e-6), ("float32", 0)):
        write_maps(path, [lambda one=one: one for one in maps], like, kind)
        written = nibabel.load(path)
        assert isinstance(written, image_class)
        assert written.shape == (*SHAPE, 3)
        assert written.get_data_dtype().base.kind == kind[0]
        assert not written.header.extensions
        assert b"a name" not in bytes(written.header.binaryblock)
        np.testing.assert_array_equal(written.affine, like.affine)
        assert written.header["qform_code"] == like.header["qform_code"]
        np.testing.assert_allclose(np.moveaxis(written.get_fdata(), 3, 0), maps, atol=error, rtol=0)


def test_one_map_is_one_volume_and_equal_maps_give_equal_bytes(tmp_path: Path) -> None:
    like = _grid(tmp_path, nibabel.Nifti1Image, "<")
    values = np.full(SHAPE, 0.5, dtype=np.float32)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_maps(tmp_path / name, [lambda: values], like)
    assert nibabel.load(tmp_path / "a.nii.gz").shape == SHAPE
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_map_on_another_grid_leaves_no_file(tmp_path: Path) -> None:
    like = _grid(tmp_path, nibabel.Nifti1Image, "<")
    with pytest.raises(ShapeError, match="a map of shape"):
        write_maps(tmp_path / "a.nii.gz", [lambda: np.zeros(SHAPE[::-1], dtype=np.float32)], like)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.nii.gz"]
