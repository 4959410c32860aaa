from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")

from ssa_fast.evaluate.anatomy import anatomy
from ssa_fast.evaluate.case_figure import case_figure
from tests.evaluate.reported import is_drawn, panel
from tests.evaluate.test_anatomy import labelled


def test_curves_and_table_are_the_numbers_of_the_case() -> None:
    found = anatomy(*labelled())
    figure = case_figure("A $x^$", {"reference": found, "prediction": found})
    for label in ("NCR", "ED", "ET"):
        [line] = panel(figure, f"area {label}").lines
        slices = np.asarray(line.get_xdata()) - 1
        np.testing.assert_allclose(line.get_ydata(), found.areas_mm2[label][slices] / 100)
    assert slices.tolist() == list(range(4, 13))  # from the first slice with tumour to the last
    [table] = panel(figure, "table").tables
    cells = {place: cell.get_text().get_text() for place, cell in table.get_celld().items()}
    row = next(place for (place, column), text in cells.items() if column == 0 and text == "ET  prediction")
    et = found.shapes["ET"]
    assert et is not None
    assert cells[row, 1] == f"{et.volume_ml:.1f}"
    assert cells[row, 2] == f"{et.surface_mm2 / 100:.1f}"
    assert cells[row, 6] == "left"
    assert is_drawn(figure)


def test_an_empty_segmentation_is_a_table_of_nothing() -> None:
    volume, brain = labelled()
    volume.array[:] = 0
    figure = case_figure("A", {"prediction": anatomy(volume, brain)})
    [table] = panel(figure, "table").tables
    assert table.get_celld()[1, 1].get_text().get_text() == "0"
