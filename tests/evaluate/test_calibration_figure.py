from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.evaluate.calibration import Calibration, Reliability, reliability
from ssa_fast.evaluate.calibration_figure import calibration_figure
from ssa_fast.evaluate.provenance import RESEARCH_ONLY
from ssa_fast.metrics.overlap import TARGETS
from tests.evaluate.reported import is_drawn, panel, words


def random_case(seed: int) -> dict[str, Reliability]:
    rng = np.random.default_rng(seed)
    values = {target: rng.random(500).astype(np.float32) ** 2 for target in TARGETS}
    return {target: reliability(its, rng.random(500) < its**1.5) for target, its in values.items()}


def test_curves_and_bars_are_the_numbers_of_all_cases_together_and_each_case_is_there() -> None:
    calibration = Calibration(cases={"A": random_case(0), "B": random_case(1)}, failures={})
    figure = calibration_figure(calibration)
    for target, pooled in calibration.pooled().items():
        axes = panel(figure, f"curve {target}")
        lines = {line.get_label(): line.get_xydata() for line in axes.lines}
        assert lines[target] == pytest.approx(np.array(pooled.curve))
        assert len(axes.lines) == 1 + 2 + 1  # where all is true, two cases, both together
        heights = [bar.get_height() for bar in panel(figure, f"voxels {target}").patches]
        assert heights == pytest.approx(pooled.voxels / 1000)
        assert f"{target}   ECE {pooled.ece:.4f}" in words(figure)
    assert RESEARCH_ONLY in figure._supxlabel.get_text()
    assert is_drawn(figure)


def test_without_voxels_it_says_so() -> None:
    nothing = reliability(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool))
    figure = calibration_figure(Calibration(cases={"A": dict.fromkeys(TARGETS, nothing)}, failures={}))
    assert words(figure).count("no voxels") == len(TARGETS)
