from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.scatter import draw_scatter, scatter_figure
from ssa_fast.metrics.profiles import OVERLAP, PROFILES
from tests.evaluate.evaluations import in_profile


def test_a_panel_has_a_point_for_every_case_of_both_with_the_first_up() -> None:
    one, other = in_profile(PROFILES["legacy"], A=0.2, B=0.9, X=1.0), in_profile(PROFILES["legacy"], B=0.8, A=0.3)
    figure = scatter_figure(one, other, ("new", "old"))
    assert len(figure.axes) == 2 * 3  # two headlines, three regions
    for axes in figure.axes:
        np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[0.3, 0.2], [0.8, 0.9]])
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("old", "new")
        assert axes.get_xlim() == axes.get_ylim()


def test_the_picture_is_written_and_equal_for_equal_scores(tmp_path: Path) -> None:
    evaluation = in_profile(OVERLAP, A=0.5)
    pictures = [draw_scatter(evaluation, evaluation, ("a", "b"), tmp_path / f"{n}.png").read_bytes() for n in "12"]
    assert pictures[0].startswith(b"\x89PNG")
    assert pictures[0] == pictures[1]


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(CaseError, match="nothing to draw"):
        scatter_figure(in_profile(OVERLAP, A=1.0), in_profile(OVERLAP, B=1.0), ("a", "b"))
