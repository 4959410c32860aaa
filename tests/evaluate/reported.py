"""An evaluation whose every number is another, and how a picture is asked for what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ssa_fast.evaluate.scores import CaseScores, Evaluation
from ssa_fast.metrics.profiles import PROFILES, Profile


def unlike_numbers(count: int = 3, profile: Profile = PROFILES["full"]) -> Evaluation:
    """Cases C0, C1, ... of random scores; the first has the lowest Dice of all targets, the last the highest."""
    rng = np.random.default_rng(7)
    cases = []
    for number in range(count):
        scores = {
            target: dict(zip(profile.measures, rng.uniform(1, 90, 99), strict=False)) for target in profile.targets
        }
        for values in scores.values():
            for measure in ("dice", "precision", "recall"):
                values[measure] = (number + rng.uniform(0.1, 0.9)) / count
        cases.append(
            CaseScores(
                name=f"C{number}",
                reference=Path("r.nii.gz"),
                prediction=Path("p.nii.gz"),
                tumor_ml=1.0,
                confusion=rng.integers(1, 1000, (4, 4)),
                scores=scores,
            )
        )
    return Evaluation(profile=profile, cases=tuple(cases), failures={}, unmatched=())


def panel(figure: Figure, name: str) -> Any:
    return next(axes for axes in figure.axes if axes.get_label() == name)


def words(figure: Figure) -> str:
    """Everything that the figure says."""
    texts = [*figure.texts, *(text for axes in figure.axes for text in (*axes.texts, axes.title))]
    texts += [title for axes in figure.axes for title in (axes._left_title,)]
    return "\n".join(text.get_text() for text in texts)


def points(axes: Any, target: str) -> Any:
    """(cases, 2): where the markers of a target lie."""
    return next(np.asarray(marks.get_offsets()) for marks in axes.collections if marks.get_label() == target)


def is_drawn(figure: Figure) -> bool:
    """Whether every panel has ink in its own rectangle, when all is rendered."""
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    height = picture.shape[0]
    for axes in figure.axes:
        box = axes.get_window_extent()
        inside = picture[int(height - box.y1) : int(height - box.y0), int(box.x0) : int(box.x1)]
        if (inside.min(axis=2) < 200).mean() < 1e-4:
            return False
    return True
