from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.evaluate.training_figures import training_curves, training_dynamics
from ssa_fast.evaluate.training_run import read_training_run
from ssa_fast.labels import REGIONS
from ssa_fast.metrics.overlap import TARGETS
from tests.evaluate.reported import is_drawn, panel, words
from tests.evaluate.test_training_run import epochs, write_run


def curve(axes: Any, label: str) -> list[float]:
    return next(np.asarray(line.get_ydata()).tolist() for line in axes.lines if line.get_label() == label)


def test_curves_are_those_of_the_record(tmp_path: Path) -> None:
    lines = epochs(has_loss=True)
    figure = training_curves(read_training_run(write_run(tmp_path, lines)))
    assert curve(panel(figure, "loss"), "training") == [line["loss"] for line in lines]
    assert curve(panel(figure, "loss"), "held out") == [line["held_out"]["loss"] for line in lines]
    assert curve(panel(figure, "rate"), "learning rate") == [line["learning_rate"] for line in lines]
    for target in TARGETS:
        assert curve(panel(figure, "dice"), target) == [line["held_out"]["dice"][target] for line in lines]
    assert "best: epoch 2" in words(figure)
    assert is_drawn(figure)


def test_dynamics_are_computed_of_the_record(tmp_path: Path) -> None:
    lines = epochs(has_loss=True, norm=True)
    figure = training_dynamics(read_training_run(write_run(tmp_path, lines)))
    heights = [bar.get_height() for bar in panel(figure, "slope").patches]
    assert heights == pytest.approx([1 / 3 - 1 / 2, 1 / 4 - 1 / 3])  # for 100 updates, which an epoch has
    assert curve(panel(figure, "gap"), "gap") == pytest.approx([0.6 - 1 / 2, 0.3 - 1 / 3, 0.2 - 1 / 4])
    assert curve(panel(figure, "gradient"), "gradient norm") == [2, 1, 2 / 3]
    means = [np.mean([line["held_out"]["dice"][region] for line in lines]) for region in REGIONS]
    assert [bar.get_height() for bar in panel(figure, "stability").patches] == pytest.approx(means)
    assert is_drawn(figure)


def test_what_a_run_did_not_record_is_said_in_its_panel(tmp_path: Path) -> None:
    run = read_training_run(write_run(tmp_path, epochs(1, is_scored=False)))
    said = words(training_curves(run)) + words(training_dynamics(run))
    for why in (
        "no case was held out",
        "it takes two epochs",
        "gap of the losses",
        "two scored",
        "norm of the gradient",
    ):
        assert why in said
