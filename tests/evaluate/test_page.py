"""The page of a case: its numbers, what it believes, what it refuses; and in a browser, what a reader sees."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ssa_fast.evaluate.page as page_module
from ssa_fast.errors import CaseError
from ssa_fast.evaluate.outside import shipped_ranges
from ssa_fast.evaluate.page import LARGEST_BYTES, CasePage, write_case_page
from ssa_fast.files import sha256
from ssa_fast.pretrained import bundle_path
from ssa_fast.volume.case import CaseFiles, find_cases
from tests.cases import SHAPE, tumor_labels, write_case, write_nifti
from tests.evaluate.browser import Browser, program

NAME = "BraTS-SSA-00001-000"
VIEWER_SHA256 = (
    "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"  # of the file that its publisher made
)


def case_with_record(folder: Path, name: str = NAME, *, shift: int = 1, labels: bool = True) -> tuple[CaseFiles, Path]:
    """A case and a prediction that is its reference, moved along X by `shift` voxels, with a record and a map."""
    write_case(folder / "cases" / name, name, labels=labels)
    out = folder / "predictions"
    prediction = write_nifti(out / f"{name}.nii.gz", np.roll(tumor_labels(), shift, axis=0))
    doubt = write_nifti(out / f"{name}-entropy.nii.gz", np.where(tumor_labels() > 0, 0.3, 0).astype(np.float32))
    record = {
        "bundle_sha256": "b" * 64,
        "computed_by": "a backend in bf16",
        "plan": {**{key: [16, 16, 16] for key in ("box", "shape", "window")}, "overlap": 0.0, "passes": 1, "batch": 1},
        "doubt": {"expected_dice": {"WT": 0.91, "TC": 0.82, "ET": None}, "agreement": {}},
        "look_first": ["TC"],
        "output_sha256": sha256(prediction.read_bytes()),
        "maps_sha256": {"entropy": sha256(doubt.read_bytes())},
    }
    record["plan"].update(gflop=12.0, peak_bytes=10**9)
    (out / f"{name}.json").write_text(json.dumps(record))
    [files] = find_cases([folder / "cases" / name])
    return files, prediction


def change_record(prediction: Path, **values: Any) -> None:
    path = prediction.with_name(f"{NAME}.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def written(folder: Path, **case: Any) -> tuple[CasePage, str]:
    files, prediction = case_with_record(folder, **case)
    page = write_case_page(files, prediction, folder / "pages" / f"{files.name}.html")
    return page, page.path.read_text()


def _data(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="page">(.*?)</script>', text)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_viewer_is_the_file_that_its_publisher_made() -> None:
    folder = resources.files("ssa_fast.evaluate") / "viewer"
    assert sha256((folder / "niivue-0.69.0.umd.js").read_bytes()) == VIEWER_SHA256
    assert "Copyright (c) 2021, Niivue" in (folder / "LICENSES.txt").read_text()


def test_a_page_tells_the_scores_and_where_the_labels_come_from(tmp_path: Path) -> None:
    page, text = written(tmp_path)
    assert page.scores is not None
    for region in ("WT", "TC", "ET"):
        row = re.search(f'<th scope="row">{region}</th><td>([0-9.]+)</td>', text)
        assert row is not None
        assert row[1] == f"{page.scores.value('dice', region):.3f}"
    assert page.scores.value("dice", "WT") == pytest.approx(6 / 7)  # blocks of 7 voxels, moved by one
    for fact in ("b" * 64, "a backend in bf16", "one pass of 16 x 16 x 16, 12 GFLOP, 1.00 GB", "look at first: TC"):
        assert fact in text
    assert "For research only" in text
    assert "Copyright (c) 2021, Niivue" in text  # the page passes the viewer on, so its licence goes along


def test_a_page_says_what_is_unlike_the_training_cases_and_that_it_is_not_known_of_another_bundle(
    tmp_path: Path,
) -> None:
    files, prediction = case_with_record(tmp_path)
    record_path = prediction.with_name(f"{NAME}.json")
    out = tmp_path / "page.html"
    assert (
        "Not known: the training cases of this network are not"
        in write_case_page(files, prediction, out).path.read_text()
    )
    record = json.loads(record_path.read_text())
    record["bundle_sha256"] = sha256(bundle_path("lite").read_bytes())
    record_path.write_text(json.dumps(record))
    page = write_case_page(files, prediction, out)
    assert any(said.startswith("brain ") for said in page.unlike)  # tiny
    assert page.unlike[0] in out.read_text()
    assert "12 training cases" in out.read_text()
    ranges = shipped_ranges(record["bundle_sha256"])
    assert ranges is not None
    wide = dict.fromkeys(ranges.medians, (-1000000000.0, 1000000000.0))
    own = replace(ranges, brain_ml=(0, 9999), tumor_ml=(0, 9999), medians=wide)
    assert write_case_page(files, prediction, out, own).unlike == ()
    assert "<p>nothing found</p>" in out.read_text()


@pytest.mark.parametrize(
    ("agreement", "least"),
    [({"WT": 0.99, "TC": 0.98, "ET": 0.0}, 0.0), ({"WT": 0.99, "TC": 0.5, "ET": 1.0}, 0.5), ({}, 0.82)],
)
def test_the_least_agreement_is_the_doubt_of_a_case_even_where_it_is_none_at_all(
    tmp_path: Path, agreement: dict[str, float], least: float
) -> None:
    files, prediction = case_with_record(tmp_path, labels=False)
    change_record(prediction, doubt={"expected_dice": {"WT": 0.91, "TC": 0.82, "ET": None}, "agreement": agreement})
    page = write_case_page(files, prediction, tmp_path / "page.html")
    assert page.least_expected == least
    assert page.rank == (True, least, NAME)


@pytest.mark.parametrize("value", [None, 7, "x"])
def test_a_record_that_has_nothing_where_a_table_or_list_belongs_is_read_as_far_as_it_goes(
    tmp_path: Path, value: object
) -> None:
    files, prediction = case_with_record(tmp_path)
    keys = ("doubt", "look_first", "maps_sha256", "seconds", "overridden", "asked_for", "plan")
    change_record(prediction, **dict.fromkeys(keys, value))
    page = write_case_page(files, prediction, tmp_path / "page.html")
    assert (page.look_first, page.least_expected) == ((), None)
    assert "b" * 64 in page.path.read_text()
    change_record(prediction, doubt={"expected_dice": {"WT": 0.5}, "agreement": None})
    assert write_case_page(files, prediction, tmp_path / "page.html").least_expected == 0.5


def test_a_page_loads_nothing_and_forbids_itself_to(tmp_path: Path) -> None:
    _, text = written(tmp_path)
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|img|link|iframe)[^>]+(src|href)=", text.split("<script>")[0])
    assert len(text) < LARGEST_BYTES


def test_overlays_are_those_that_there_are(tmp_path: Path) -> None:
    assert list(_data(written(tmp_path / "a")[1])["overlays"]) == ["prediction", "reference", "difference", "entropy"]
    page, text = written(tmp_path / "b", labels=False)
    assert list(_data(text)["overlays"]) == ["prediction", "entropy"]
    assert page.scores is None
    assert "No reference, so there are no scores" in text


def test_a_record_of_other_labels_is_not_believed_nor_are_its_maps(tmp_path: Path) -> None:
    files, prediction = case_with_record(tmp_path)
    write_nifti(prediction, np.roll(tumor_labels(), 2, axis=0))
    text = write_case_page(files, prediction, tmp_path / "page.html").path.read_text()
    assert f"the record {NAME}.json is of another label map than this one" in text
    assert "b" * 64 not in text
    assert "entropy" not in _data(text)["overlays"]


def test_a_map_that_was_altered_since_is_left_out(tmp_path: Path) -> None:
    files, prediction = case_with_record(tmp_path)
    write_nifti(prediction.with_name(f"{NAME}-entropy.nii.gz"), np.ones(SHAPE, dtype=np.float32))
    text = write_case_page(files, prediction, tmp_path / "page.html").path.read_text()
    assert "entropy" not in _data(text)["overlays"]


def test_a_name_cannot_become_markup(tmp_path: Path) -> None:
    _, text = written(tmp_path, name="a<b>&c")
    assert "<b>" not in text.split("<script>")[0]


def test_a_page_that_would_be_too_large_has_fewer_greys_and_then_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, prediction = case_with_record(tmp_path)
    whole = len(write_case_page(files, prediction, tmp_path / "page.html").path.read_bytes())
    monkeypatch.setattr(page_module, "LARGEST_BYTES", whole - 1)
    text = write_case_page(files, prediction, tmp_path / "page.html").path.read_text()
    assert "64 levels of grey" in text
    monkeypatch.setattr(page_module, "LARGEST_BYTES", 1000)
    with pytest.raises(CaseError, match=f"case {NAME}: its page would have .* MB"):
        write_case_page(files, prediction, tmp_path / "page.html")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The page of a small case, at its axial slices, in a browser that was given time to draw it."""
    if program() is None:
        pytest.skip("needs a Chromium on the path, such as Debian's package chromium")
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")
    folder = tmp_path_factory.mktemp("page")
    page, _ = written(folder)
    browser = Browser(folder / "profile")
    try:
        browser.open(page.path, "#view=axial", size=(500, 700))
        yield browser
    finally:
        browser.close()


def _picture(browser: Browser) -> npt.NDArray[np.float32]:
    """The canvas as it is on the screen, (rows, columns, 3)."""
    from matplotlib.image import imread

    return np.asarray(imread(io.BytesIO(browser.screenshot("#frame")))[..., :3], dtype=np.float32)


def _share_like(picture: npt.NDArray[np.float32], color: str) -> float:
    """Share of pixels whose hue is that of `color`: grey mixed in does not change which channel leads by how much."""
    wanted = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    tint = picture - picture.mean(axis=2, keepdims=True)
    own = wanted - wanted.mean()
    strength = np.linalg.norm(tint, axis=2)
    cosine = (tint @ own) / np.maximum(strength * np.linalg.norm(own), 1e-6)
    return float(np.mean((cosine > 0.95) & (strength > 0.1)))


@pytest.mark.slow
def test_a_page_opens_without_errors_and_shows_brain_and_labels(opened: Browser) -> None:
    assert opened.value("document.body.dataset.ready") == "yes"
    opened.click("input[value=prediction]")
    picture = _picture(opened)
    assert picture.std() > 0.1  # not blank
    assert _share_like(picture, "#56B4E9") > 0.01  # oedema
    assert _share_like(picture, "#F0E442") > 0.01  # enhancing tumour
    words = opened.value("document.getElementById('place').textContent")
    assert "prediction: NCR necrotic core; reference: NCR necrotic core; difference: nothing" in words
    assert "uncertainty (entropy): 0.30" in words
    assert opened.troubles == []


@pytest.mark.slow
def test_overlays_are_switched_by_a_click(opened: Browser) -> None:
    seen = {}
    for overlay in ("none", "prediction", "reference", "difference", "entropy"):
        opened.click(f"input[value={overlay}]")
        seen[overlay] = _picture(opened)
        assert overlay in opened.value("location.hash")
    assert _share_like(seen["none"], "#56B4E9") == 0
    names = list(seen)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            assert np.abs(seen[one] - seen[other]).max() > 0.2, (one, other)
    assert _share_like(seen["difference"], "#009E73") > 0.002  # a side of the tumour is extra,
    assert _share_like(seen["difference"], "#CC79A7") > 0.002  # the other one missed
    assert opened.troubles == []


@pytest.mark.slow
def test_modality_and_slice_change_the_picture_and_the_words(opened: Browser) -> None:
    opened.click("input[value=none]")
    first = _picture(opened)
    opened.click("input[value=t1c]")
    assert np.abs(_picture(opened) - first).mean() > 0.01
    before = opened.value("document.getElementById('slice-text').textContent")
    picture = _picture(opened)
    opened.value(
        "(s => { s.value = +s.value + 1; s.dispatchEvent(new Event('input')); })(document.getElementById('slice'))"
    )
    number, total = before.split(" of ")
    assert opened.value("document.getElementById('slice-text').textContent") == f"{int(number) + 1} of {total}"
    assert int(total) == SHAPE[2]
    assert np.abs(_picture(opened) - picture).mean() > 0.01
    assert opened.troubles == []


@pytest.mark.slow
def test_surfaces_are_drawn_with_the_yellow_tumour_in_the_blue_one(opened: Browser) -> None:
    opened.click("input[value=prediction]")
    opened.click("input[value=surface]")
    red, green, blue = np.moveaxis(_picture(opened), 2, 0)
    opened.click("input[value=axial]")
    assert np.mean(np.minimum(red, green) - blue > 0.1) > 0.005  # yellow, through blue
    assert np.mean(blue - red > 0.1) > 0.005
    assert opened.troubles == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1100, 1000, 500])
def test_no_table_is_cut_and_nothing_stands_out_of_the_page(opened: Browser, width: int) -> None:
    opened.value("document.querySelectorAll('.wide td').forEach(cell => { cell.textContent = '1234.5'; })")
    opened.resize((width, 900))
    tables = "[...document.querySelectorAll('.wide')].filter(it => it.scrollWidth > it.clientWidth).length"
    assert opened.value(tables) == 0
    assert opened.value("document.documentElement.scrollWidth") <= width
    opened.resize((500, 700))
