"""Held-out cases: checked before training, and scored on the grid that they are on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
import pytest
import torch

from ssa_fast import hardware
from ssa_fast.errors import BudgetError, CaseError
from ssa_fast.model.spec import PRESETS
from ssa_fast.train import validate
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.dataset import Patch, draw_patch
from ssa_fast.train.group import Group
from ssa_fast.train.loop import train
from ssa_fast.train.placement import choose_placement
from ssa_fast.train.run import Sources, open_run
from ssa_fast.train.splits import Split
from ssa_fast.train.state import Run
from ssa_fast.train.validate import CaseScorer, PatchScorer, open_scorer
from ssa_fast.volume.case import CaseFiles, find_cases
from tests.cases import turned_affine, write_case, write_nifti
from tests.networks import tiny_config

CONFIG = TrainConfig(patch=(16, 16, 16), steps=1, precision="float32")
PLACEMENT = choose_placement(CONFIG, Group())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setitem(PRESETS, "fast", tiny_config())
    run = open_run(CONFIG, tmp_path / "run", Sources(), PLACEMENT)
    torch.nn.init.normal_(run.averaged.head.bias)  # not all background
    return run


def _case(folder: Path, name: str = "Case-0", **options: object) -> CaseFiles:
    return find_cases([write_case(folder, name, **options)])[0]


def _certain(labels: torch.Tensor) -> torch.Tensor:
    return 50 * torch.nn.functional.one_hot(labels, 4).movedim(-1, 0)[None].float()


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
    spoil: Callable[[CaseFiles], None], words: str, run: Run, tmp_path: Path
) -> None:
    files = _case(tmp_path)
    open_scorer(run, [files], PLACEMENT)
    spoil(files)
    with pytest.raises(CaseError, match=words):
        open_scorer(run, [files], PLACEMENT)


def test_a_held_out_case_without_a_reference_stops_the_run_before_it_begins(run: Run, tmp_path: Path) -> None:
    split = Split(training=[_case(tmp_path)], held_out=[_case(tmp_path, "Case-1", labels=False)])
    with pytest.raises(CaseError, match=r"case Case-1: no seg in .* add Case-1-seg\.nii\.gz"):
        train(CONFIG, split, tmp_path / "run", lambda progress: None)
    assert not (tmp_path / "run").exists()


def test_a_brain_that_does_not_fit_the_memory_is_found_before_training(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "usable_memory_bytes", lambda: 1000)
    with pytest.raises(BudgetError):
        open_scorer(run, [_case(tmp_path)], PLACEMENT)


def test_scores_do_not_depend_on_the_axes_of_the_files(run: Run, tmp_path: Path) -> None:
    def write(folder: Path, turn: slice, affine: np.ndarray) -> CaseFiles:
        files = _case(folder)
        for kind, (path,) in files.found.items():
            array = np.asarray(nibabel.load(path).dataobj)[turn]
            write_nifti(path, array.astype(np.uint8 if kind == "seg" else np.float32), affine)
        return files

    plain = write(tmp_path / "ras", slice(None), turned_affine("RAS"))
    turned = write(tmp_path / "las", slice(None, None, -1), turned_affine("LAS", (23, 0, 0)))
    assert CaseScorer(run, [turned], PLACEMENT).score().dice == pytest.approx(
        CaseScorer(run, [plain], PLACEMENT).score().dice
    )


@pytest.mark.parametrize("held_out", ["cases", "patches"])
def test_scoring_leaves_an_overlay_of_the_first_held_out_case(
    held_out: Literal["cases", "patches"], run: Run, tmp_path: Path
) -> None:
    run.config = dataclasses.replace(CONFIG, held_out=held_out, held_out_patches=2)
    cases = [_case(tmp_path), _case(tmp_path, "Case-1", seed=1)]
    alone, both = (open_scorer(run, held_out, PLACEMENT) for held_out in (cases[:1], cases))
    assert alone is not None
    assert both is not None
    assert both.overlay is None
    alone.score()
    both.score()
    assert both.overlay is not None
    assert both.overlay.any()
    np.testing.assert_array_equal(both.overlay, alone.overlay)


@pytest.mark.parametrize("held_out", ["cases", "patches"])
def test_each_case_is_named_before_it_is_scored(
    held_out: Literal["cases", "patches"], run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run.config = dataclasses.replace(CONFIG, held_out=held_out, held_out_patches=1)
    scorer = open_scorer(run, [_case(tmp_path), _case(tmp_path, "Case-1", seed=1)], PLACEMENT)
    assert scorer is not None
    with caplog.at_level(logging.INFO, logger="ssa_fast.train.progress"):
        scorer.score()
    assert [message for message in caplog.messages if "validating" in message] == [
        "validating 1/2 Case-0",
        "validating 2/2 Case-1",
    ]


def test_no_held_out_case_means_no_scorer(run: Run) -> None:
    assert open_scorer(run, [], PLACEMENT) is None


def test_patches_are_the_same_each_time_and_scored_together(run: Run, tmp_path: Path) -> None:
    run.config = dataclasses.replace(CONFIG, held_out="patches", held_out_patches=3)
    scorer = open_scorer(run, [_case(tmp_path), _case(tmp_path, "Case-1", seed=1)], PLACEMENT)
    assert isinstance(scorer, PatchScorer)
    first, second = scorer.score(), scorer.score()
    assert first == second
    assert first.loss is not None
    assert any(0 < dice < 1 for dice in first.dice.values())
    assert first.region_dice == pytest.approx((first.dice["WT"] + first.dice["TC"] + first.dice["ET"]) / 3)


def test_a_network_that_is_always_right_scores_one(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run.config = dataclasses.replace(CONFIG, held_out="patches", held_out_patches=1)
    scorer = PatchScorer(run, [_case(tmp_path)], PLACEMENT)
    drawn = []

    def remember(*arguments: object) -> Patch:
        drawn.append(draw_patch(*arguments))
        return drawn[-1]

    monkeypatch.setattr(validate, "draw_patch", remember)
    monkeypatch.setattr(run.averaged, "forward", lambda _: _certain(drawn[-1].labels))
    scores = scorer.score()
    assert all(value == 1 for table in (scores.dice, scores.precision, scores.recall) for value in table.values())
    assert scores.loss == pytest.approx(0, abs=1e-3)
