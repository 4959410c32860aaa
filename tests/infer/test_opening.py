"""One case by one call, many by one opening; and the examples of README and docs, run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ssa_fast.backends.onnxruntime import OrtBackend
from ssa_fast.errors import BundleError, CaseError, ConfigError
from ssa_fast.infer.opening import open_network, open_segmenter, segment
from ssa_fast.infer.plan import Wish
from ssa_fast.infer.quality import Quality
from ssa_fast.volume.case import find_cases, read_case
from tests.cases import turned_affine, write_case
from tests.documents import PAGES, examples

EXAMPLES = list(
    dict.fromkeys(block for page in PAGES for block in examples(page, "python"))
)  # README repeats the first


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_case(tmp_path / "cases", "Case-0", affine=turned_affine("LPS", (1, 2, 3)))


def test_a_folder_becomes_a_segmentation_that_can_be_saved(
    folder: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    segmentation = segment(folder, tiny_bundle_path, "ort")
    segmentation.save(tmp_path / "out" / "labels.nii.gz")
    written, given = nibabel.load(tmp_path / "out" / "labels.nii.gz"), nibabel.load(folder / "Case-0-t1n.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), segmentation.labels)
    np.testing.assert_array_equal(written.affine, given.affine)
    np.testing.assert_array_equal(segmentation.affine, given.affine)


def test_a_case_may_be_a_path_a_text_or_read_already(folder: Path, tiny_bundle_path: Path) -> None:
    [files] = find_cases([folder])
    wanted = segment(folder, tiny_bundle_path, "ort").labels
    for case in (str(folder), files, read_case(files)):
        np.testing.assert_array_equal(segment(case, str(tiny_bundle_path), "ort").labels, wanted)


def test_a_folder_of_several_is_not_one_case(folder: Path, tiny_bundle_path: Path) -> None:
    write_case(folder.parent, "Case-1")
    with pytest.raises(ConfigError, match="holds 2 cases"):
        segment(folder.parent, tiny_bundle_path, "ort")
    with pytest.raises(CaseError, match="no such file"):
        segment(folder.parent / "gone", tiny_bundle_path, "ort")


def test_a_segmenter_keeps_to_its_wish_and_is_closed(folder: Path, tiny_bundle_path: Path) -> None:
    with open_segmenter(tiny_bundle_path, "ort", wish=Wish(window=(16, 16, 16))) as segmenter:
        assert segmenter.segment(read_case(find_cases([folder])[0])).plan.passes > 1
    assert not hasattr(segmenter.backend, "_session")


def test_several_bundles_are_an_ensemble_and_one_bad_one_closes_the_others(
    folder: Path, tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(tiny_bundle_path.read_bytes())
    alone = segment(folder, tiny_bundle_path, "ort")
    both = segment(folder, [tiny_bundle_path, copy], "ort", quality=Quality(mirror="z"))
    assert (alone.plan.votes, both.plan.votes) == (1, 4)
    assert (alone.labels == both.labels).mean() > 0.7  # a random network, which knows front from back
    closed = []
    monkeypatch.setattr(OrtBackend, "close", lambda self: closed.append(self.spec))
    with pytest.raises(BundleError, match=r"gone\.onnx"):
        open_network([tiny_bundle_path, tmp_path / "gone.onnx"], "ort")
    assert len(closed) == 1
    for bundles in ([], [copy, str(copy)]):
        with pytest.raises(ConfigError, match="name one or more, each once"):
            open_network(bundles, "ort")


def test_what_was_left_open_is_told(tiny_bundle_path: Path) -> None:
    asked, left = open_network(tiny_bundle_path, "ort"), open_network(tiny_bundle_path)
    assert (asked.reason, "backend_chosen" in asked.facts) == ("", False)
    assert left.reason == f"backend {left.facts['backend_chosen']}"
    assert asked.facts["bundle_sha256"] == left.facts["bundle_sha256"]
    with pytest.raises(BundleError, match="no bundle 'huge'"):
        open_network("huge")


def test_documents_have_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("block", EXAMPLES)
def test_the_documents_examples_run(block: str, tmp_path: Path) -> None:
    write_case(tmp_path / "cases", "BraTS-SSA-00002-000")
    done = subprocess.run([sys.executable, "-W", "error", "-c", block], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "out" / "BraTS-SSA-00002-000.nii.gz").is_file() or ".save(" not in block
