"""Held-out cases: checked before training, and scored on the grid that they are on."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from ssa_fast.errors import BudgetError, CaseError
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.model.spec import PRESETS
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.loop import train
from ssa_fast.train.placement import choose_placement
from ssa_fast.train.run import open_run
from ssa_fast.train.splits import Split
from ssa_fast.train.validate import check_held_out, mean_dice, open_segmenter
from ssa_fast.volume.case import CaseFiles, find_cases
from tests.cases import turned_affine, write_case, write_nifti
from tests.networks import tiny_config

CONFIG = TrainConfig(patch=(16, 16, 16), steps=1, precision="float32")


@pytest.fixture
def segmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    monkeypatch.setitem(PRESETS, "lite", tiny_config())
    placement = choose_placement(CONFIG)
    return open_segmenter(open_run(CONFIG, tmp_path / "run", None, placement), placement)


def _case(folder: Path, name: str = "Case-0", **options: object) -> CaseFiles:
    return find_cases([write_case(folder, name, **options)])[0]


def _constant(files: CaseFiles) -> None:
    image = nibabel.load(files.one("t2w"))
    write_nifti(files.one("t2w"), (np.asarray(image.dataobj) != 0).astype(np.float32), image.affine)


def _shifted_reference(files: CaseFiles) -> None:
    image = nibabel.load(files.one("seg"))
    write_nifti(files.one("seg"), np.asarray(image.dataobj).astype(np.uint8), turned_affine("RAS", (0, 0, 5)))


def _cut_reference(files: CaseFiles) -> None:
    files.one("seg").write_bytes(files.one("seg").read_bytes()[:100])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_constant, "Case-0: t2w: all non-zero voxels have the value 1"),
        (_shifted_reference, "affine differs by 5 mm"),
        (_cut_reference, "Case-0-seg.nii.gz"),
    ],
)
def test_a_bad_held_out_case_is_found_before_training(
    spoil: object, words: str, segmenter: Segmenter, tmp_path: Path
) -> None:
    files = _case(tmp_path)
    check_held_out(segmenter, [files])
    spoil(files)
    with pytest.raises(CaseError, match=words):
        check_held_out(segmenter, [files])


def test_a_held_out_case_without_a_reference_stops_the_run_before_it_begins(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    split = Split(training=[_case(tmp_path)], held_out=[_case(tmp_path, "Case-1", labels=False)])
    with pytest.raises(CaseError, match=r"case Case-1: no seg in .* add Case-1-seg\.nii\.gz"):
        train(CONFIG, split, tmp_path / "run", lambda progress: None)
    assert not (tmp_path / "run").exists()


def test_a_brain_that_does_not_fit_the_memory_is_found_before_training(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(BudgetError):
        check_held_out(Segmenter(segmenter.backend, budget_bytes=1000), [_case(tmp_path)])


def test_scores_do_not_depend_on_the_axes_of_the_files(segmenter: Segmenter, tmp_path: Path) -> None:
    def write(folder: Path, turn: slice, affine: np.ndarray) -> CaseFiles:
        files = _case(folder)
        for kind, (path,) in files.found.items():
            array = np.asarray(nibabel.load(path).dataobj)[turn]
            write_nifti(path, array.astype(np.uint8 if kind == "seg" else np.float32), affine)
        return files

    torch.nn.init.normal_(segmenter.backend._network.head.bias)  # not all background
    plain = write(tmp_path / "ras", slice(None), turned_affine("RAS"))
    turned = write(tmp_path / "las", slice(None, None, -1), turned_affine("LAS", (23, 0, 0)))
    assert mean_dice(segmenter, [turned]) == pytest.approx(mean_dice(segmenter, [plain]))
