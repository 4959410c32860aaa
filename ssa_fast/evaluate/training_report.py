"""A report on a training run, made and written."""

from __future__ import annotations

from pathlib import Path

from ssa_fast.evaluate.document import Section
from ssa_fast.evaluate.predictions_report import check_drawing, write_report
from ssa_fast.evaluate.provenance import RESEARCH_ONLY
from ssa_fast.evaluate.training_run import TrainingRun, read_training_run
from ssa_fast.metrics.overlap import TARGETS

__all__ = ["report_training"]


def report_training(folder: Path, out: Path) -> TrainingRun:
    """The run in `folder`, after report.html, report.md and the two figures of it were written into `out`.

    Raises ConfigError like `read_training_run`, BackendUnavailable without matplotlib.
    """
    check_drawing()
    from ssa_fast.evaluate.chart import save_figure
    from ssa_fast.evaluate.training_figures import training_curves, training_dynamics

    run = read_training_run(folder)
    names = {"Training curves": "01_training_curves", "Training dynamics": "03_training_dynamics"}
    for name, figure in zip(names.values(), (training_curves(run), training_dynamics(run)), strict=True):
        save_figure(figure, out / "figures", name)
    held_out = ", ".join(run.held_out) or "not named in the record"
    lines = [f"Held-out cases: {held_out}."] if run.scored else ["No case was held out: nothing here is a score."]
    if run.scored:
        lines.append("The best epoch was chosen by these cases, so its scores are no estimate for others.")
    parts = [
        Section(
            title="What this is", warning=RESEARCH_ONLY, lines=lines, table=[["fact", "value"], *map(list, run.rows)]
        ),
        *(Section(title=title, pictures=[(title, f"figures/{name}.png")]) for title, name in names.items()),
        _epochs(run),
    ]
    write_report(out, f"Training run {run.name}", parts)
    return run


def _epochs(run: TrainingRun) -> Section:
    table = [["epoch", "updates", "loss", "learning rate", *(f"Dice {target}" for target in TARGETS)]]
    for epoch in run.epochs:
        dice = epoch["held_out"]["dice"] if epoch["held_out"] else {}
        row = [str(epoch["epoch"]), str(epoch["step"]), f"{epoch['loss']:.4f}", f"{epoch['learning_rate']:.2e}"]
        table.append(row + [f"{dice[target]:.3f}" if target in dice else "" for target in TARGETS])
    return Section(title="Epochs", table=table)
