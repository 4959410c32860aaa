"""Faults that are planted into a cohort of three, `Case-0` to `Case-2`, in the second case or around all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from tests.cases import SHAPE, brain_values, turned_affine, write_case, write_nifti

Plant = Callable[[Path], None]  # takes the folder that holds `cases` and `out`


def image(folder: Path, modality: str = "t2w") -> Path:
    """An image of the second case."""
    return folder / "cases" / "Case-1" / f"Case-1-{modality}.nii.gz"


def three_cases(folder: Path) -> Path:
    """The cohort, in `folder/cases`."""
    for number in range(3):
        write_case(folder / "cases", f"Case-{number}", seed=number, labels=False)
    return folder / "cases"


def _cut_off(folder: Path) -> None:
    image(folder).write_bytes(image(folder).read_bytes()[:-1000])


def _no_gzip(folder: Path) -> None:
    image(folder).write_bytes(b"<html>404 Not Found</html>")


def _no_bytes(folder: Path) -> None:
    image(folder).write_bytes(b"")


def _foreign_bytes(folder: Path) -> None:
    image(folder).write_bytes(image(folder).read_bytes() + b"<html>")


def _one_byte_in_the_stream(folder: Path) -> None:
    flip_byte(image(folder), 2000)


def _a_folder_in_its_place(folder: Path) -> None:
    image(folder).unlink()
    image(folder).mkdir()


def _missing(folder: Path) -> None:
    image(folder).unlink()


def _twice(folder: Path) -> None:
    write_nifti(image(folder).with_name("Case-1-t2.nii.gz"), brain_values())


def _nan(folder: Path) -> None:
    values = brain_values().astype(np.float32)
    values[12, 10, 9] = np.nan
    write_nifti(image(folder), values)


def _other_shape(folder: Path) -> None:
    write_nifti(image(folder), brain_values((24, 20, 19)).astype(np.float32))


def _other_affine(folder: Path) -> None:
    write_nifti(image(folder), brain_values().astype(np.float32), turned_affine("RAS", (5, 0, 0)))


def _zeros(folder: Path) -> None:
    write_nifti(image(folder), np.zeros(SHAPE, dtype=np.float32))


def _one_value(folder: Path) -> None:
    write_nifti(image(folder), np.where(brain_values() != 0, np.float32(5), np.float32(0)))


def _series(folder: Path) -> None:
    write_nifti(image(folder), np.stack([brain_values().astype(np.float32)] * 2, axis=-1))


def _one_image_twice(folder: Path) -> None:
    image(folder).write_bytes(image(folder, "t1c").read_bytes())


def _thin_voxels_without_form(folder: Path) -> None:
    for modality in ("t1n", "t1c", "t2w", "t2f"):
        path = image(folder, modality)
        loaded = nibabel.load(path)
        loaded.header.set_qform(None, code=0)
        loaded.header.set_sform(None, code=0)
        nibabel.save(nibabel.Nifti1Image(np.asarray(loaded.dataobj), None, loaded.header), path)


IN_ONE_CASE: dict[str, tuple[Plant, str]] = {
    "file cut off": (_cut_off, "the gzip stream is cut off after"),
    "file is no gzip": (_no_gzip, "not a gzip file (it begins with b'<htm')"),
    "file is empty": (_no_bytes, "the file is empty (0 bytes)"),
    "bytes after the file's end": (_foreign_bytes, "6 foreign bytes follow the gzip stream"),
    "one byte of a file altered": (_one_byte_in_the_stream, "the gzip stream is damaged"),
    "a folder in a file's place": (_a_folder_in_its_place, "no t2w in"),
    "a modality missing": (_missing, "no t2w in"),
    "a modality twice": (_twice, "t2w is there 2 times"),
    "NaN in an image": (_nan, "1 of 8640 voxels are NaN or infinite"),
    "another shape": (_other_shape, "shape (24, 20, 19) differs from (24, 20, 18)"),
    "another affine": (_other_affine, "affine differs by 5 mm"),
    "an image of zeros": (_zeros, "every voxel of t2w is zero"),
    "an image of one value": (_one_value, "all non-zero voxels have the value 5"),
    "a series of volumes": (_series, "shape is (24, 20, 18, 2), wanted one 3-D volume"),
    "one image under two names": (_one_image_twice, "t1c and t2w are the same image"),
    "no place in the header": (_thin_voxels_without_form, "neither qform nor sform"),
}
"""A fault -> what plants it, and what the case's line must say; the two other cases are to be done."""


def flip_byte(path: Path, place: int) -> None:
    """Alter one byte of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))


def _delete_the_result(folder: Path) -> None:
    (folder / "out" / "Case-1.nii.gz").unlink()


def _delete_the_record(folder: Path) -> None:
    (folder / "out" / "Case-1.json").unlink()


def _alter_the_result(folder: Path) -> None:
    flip_byte(folder / "out" / "Case-1.nii.gz", 30)


def _cut_the_result(folder: Path) -> None:
    path = folder / "out" / "Case-1.nii.gz"
    path.write_bytes(path.read_bytes()[:-9])


def _vouch_for_another_geometry(folder: Path) -> None:
    from ssa_fast.files import sha256

    path = folder / "out" / "Case-1.nii.gz"
    labels = np.asarray(nibabel.load(path).dataobj)
    write_nifti(path, labels, turned_affine("RAS", (5, 0, 0)))
    record = json.loads((folder / "out" / "Case-1.json").read_text())
    record["output_sha256"] = sha256(path.read_bytes())
    (folder / "out" / "Case-1.json").write_text(json.dumps(record))


def _damage_the_record(folder: Path) -> None:
    (folder / "out" / "Case-1.json").write_bytes(b'{"case": "Case-1", "pl\xff')


def _record_of_another_form(folder: Path) -> None:
    (folder / "out" / "Case-1.json").write_text('["Case-1"]')


def _change_an_input(folder: Path) -> None:
    image(folder).write_bytes(image(folder, "t2f").read_bytes())
    write_case(folder / "cases", "Case-1", seed=7, labels=False)


def _leave_a_partial(folder: Path) -> None:
    (folder / "out" / "Case-1.nii.gz").unlink()
    (folder / "out" / ".Case-1.nii.gz.1234.partial").write_bytes(b"half")


BEFORE_RESUMING: dict[str, Plant] = {
    "result deleted": _delete_the_result,
    "record deleted": _delete_the_record,
    "one byte of the result altered": _alter_the_result,
    "result cut off": _cut_the_result,
    "result of another geometry, and vouched for": _vouch_for_another_geometry,
    "record damaged": _damage_the_record,
    "record of another form": _record_of_another_form,
    "input changed": _change_an_input,
    "killed while it wrote": _leave_a_partial,
}
"""A fault in the second case's result after a whole run; the case is to be done again, the others kept."""
