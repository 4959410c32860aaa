from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from matplotlib.colors import to_rgb
from matplotlib.image import imread

from ssa_fast.evaluate.chart import MARKS, new_figure, save_figure, write_lines
from ssa_fast.metrics.overlap import TARGETS


def test_every_target_has_a_color_a_marker_a_hatch_and_dashes_of_its_own() -> None:
    assert set(MARKS) == set(TARGETS)
    for part in ("color", "marker", "hatch", "dashes"):
        assert len({getattr(mark, part) for mark in MARKS.values()}) == len(MARKS)


def test_the_colors_of_the_regions_differ_in_grey() -> None:
    """By luminance, as ITU-R BT.601 weighs it: what a copy in grey leaves."""
    grays = sorted(float(np.dot(to_rgb(MARKS[region].color), (0.299, 0.587, 0.114))) for region in ("WT", "TC", "ET"))
    assert min(np.diff(grays)) > 0.05


def test_a_figure_is_kept_as_png_and_svg_of_equal_bytes_each_time(tmp_path: Path) -> None:
    contents = []
    for folder in ("one", "other"):
        figure = new_figure("case $x^$", "a note", (4, 3))
        write_lines(
            figure.add_subplot(), [("a name", "a value of more than thirty-eight letters in one line"), ("b", "")]
        )
        png, svg = save_figure(figure, tmp_path / folder, "some")
        assert (png.name, svg.name) == ("some.png", "some.svg")
        contents.append((png.read_bytes(), svg.read_bytes()))
    assert contents[0] == contents[1]
    assert np.ptp(imread(tmp_path / "one" / "some.png")[..., :3]) > 0.8  # ink on paper
