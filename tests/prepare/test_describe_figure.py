"""The figure of a data set: a row a case, whatever there is to show."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from ssa_fast.prepare.describe import CaseFacts, DataSet, Intensities
from ssa_fast.prepare.describe_figure import description_figure, draw_description
from ssa_fast.prepare.problems import Problem
from ssa_fast.prepare.suspects import Repeat, Swap

SWAP = Swap(broken=("liquor is dark",), mends=(("t2w", "t2f"),))


def case(name: str, tumor: float | None, *, level: float = 100.0, swap: Swap | None = None) -> CaseFacts:
    own = Intensities(
        least=-5,
        p1=level / 10,
        median=level,
        p99=3 * level,
        most=9 * level,
        mean=level,
        deviation=1,
        negative_share=0.1,
    )
    label_ml = None if tumor is None else {"NCR": tumor / 4, "ED": tumor / 2, "ET": tumor / 4}
    return CaseFacts(
        name=name,
        shape=(240, 240, 155),
        spacing_mm=(1, 1, 1),
        orientation="RAS",
        voxel_types={"t1n": "float32"},
        brain_shape=(140, 170, 140),
        brain_ml=1500,
        intensities=dict.fromkeys(("t1n", "t1c", "t2w", "t2f"), own),
        label_values=(0, 1, 2, 3),
        label_ml=label_ml,
        region_ml=None if tumor is None else {"WT": tumor, "TC": tumor / 2, "ET": tumor / 4},
        swap=swap,
    )


def words(figure: Figure) -> str:
    texts = [*figure.texts, *(text for axes in figure.axes for text in (*axes.texts, axes.title, axes.xaxis.label))]
    return "\n".join(text.get_text() for text in texts)


def test_rows_are_cases_with_the_largest_tumor_on_top() -> None:
    cases = (case("Small", 10), case("Large", 90), case("Bare", None))
    figure = description_figure(DataSet(cases=cases, repeats=()))
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said == ["90", "10", "no reference", "Large", "Small", "Bare"]
    assert len(figure.axes) == 5
    assert "3 cases, 2 with a reference" in words(figure)
    assert "no suspected repeat patient" in words(figure)


def test_suspicions_and_problems_are_written_and_their_names_are_red() -> None:
    problem = Problem(case="Gone", file="Gone-t1c", seen="no t1c", remedy="add it")
    repeat = Repeat(cases=("A", "C"), correlation=0.71, same_name=False)
    data = DataSet(cases=(case("A", 9), case("B", 5, swap=SWAP), case("C", 1)), repeats=(repeat,), problems=(problem,))
    figure = description_figure(data)
    said = words(figure)
    assert "one patient?  A and C: brains correlate by 0.71" in said
    assert "swapped?  B: t2w and t2f; liquor is dark" in said
    assert "not read:  Gone: Gone-t1c no t1c" in said
    colors = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert colors["A"] == colors["B"] == colors["C"] != colors["9"]


@pytest.mark.parametrize("count", [1, 40, 300])
def test_a_page_is_drawn_for_few_and_for_many_cases(count: int, tmp_path: Path) -> None:
    levels = (50.0, 5000.0)
    cases = [case(f"case $x^$ {n} " + "long " * (n % 7), n + 1.0, level=levels[n % 2], swap=SWAP) for n in range(count)]
    out = draw_description(DataSet(cases=tuple(cases), repeats=()), tmp_path / "new" / "d.png")
    again = draw_description(DataSet(cases=tuple(cases), repeats=()), tmp_path / "again.png")
    assert out.read_bytes() == again.read_bytes()
    picture = imread(out)
    assert picture.shape[1] == 1540
    assert picture.shape[0] < 3500
    assert picture[..., :3].min() < 0.2


def test_cases_without_any_tumor_are_drawn() -> None:
    figure = description_figure(DataSet(cases=(case("A", 0.0), case("B", None)), repeats=()))
    assert "tumour is 0.0% of the brain" in words(figure)
