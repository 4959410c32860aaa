"""`ssa-fast train`: from cases with references to a checkpoint."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssa_fast.cli.options import FOLDER, PATH, bytes_of
from ssa_fast.cli.progress import progress_display
from ssa_fast.cli.stopping import stop_signals
from ssa_fast.cli.tuning import tuned
from ssa_fast.config import override
from ssa_fast.errors import BackendUnavailable
from ssa_fast.hardware import keep_freed_memory
from ssa_fast.prepare.prepared import find_training_cases
from ssa_fast.pretrained import shipped_bundle, shipped_bundles

if TYPE_CHECKING:
    from ssa_fast.model.checkpoint import Checkpoint
    from ssa_fast.train.config import TrainConfig
    from ssa_fast.train.group import Group
    from ssa_fast.train.progress import Outcome, Progress
    from ssa_fast.train.run import Sources
    from ssa_fast.train.splits import Split

__all__ = ["command"]

_BARE = "warning: whole_brain begins with random weights here: it is meant to follow 'best', with --from CHECKPOINT"
_NOTHING_HELD_OUT = "nothing is held out, so no score will say how well it does: --splits FILE --fold N holds cases out"
_EVERY = -1  # for the number of a fold: all of them


def _fold(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """The number of a fold, or _EVERY for `all`."""
    if value is None:
        return None
    if value == "all":
        return _EVERY
    if not value.isdecimal():
        raise click.BadParameter(f"'{value}' is neither a fold's number, from 0 on, nor all")
    return int(value)


@click.command(short_help="Train a network on cases with references.")
@click.argument("cases", nargs=-1, required=True, type=PATH)
@click.option(
    "--out", type=FOLDER, required=True, help="Where the checkpoint goes; a run that is there is gone on with."
)
@click.option(
    "--recipe",
    default="best",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="Settings: best, whole_brain, original, or a file of your own; the options below go before it.",
)
@click.option("--preset", help="Network: fast, unless a recipe says otherwise, lite or reference.")
@click.option("--steps", type=int, help="Updates of the weights.")
@click.option("--batch", type=int, help="Patches at once.")
@click.option("--accumulate", type=int, help="Batches whose gradients one update adds up.")
@click.option(
    "--max-memory",
    type=bytes_of,
    metavar="SIZE",
    help="Such as 3.41GB: recompute activations and split batches to keep to it.",
)
@click.option("--precision", type=click.Choice(["auto", "float32", "bf16", "fp16"]), help="Arithmetic of the network.")
@click.option("--tune", is_flag=True, help="Measure first how to compute fastest here; later runs take it up.")
@click.option("--seed", type=int, help="Of everything random.")
@click.option(
    "--from",
    "start",
    type=PATH,
    metavar="CHECKPOINT|BUNDLE",
    help="Begin with the weights of another run, or a bundle's, such as fast.",
)
@click.option(
    "--teacher",
    "teachers",
    type=PATH,
    multiple=True,
    metavar="CHECKPOINT|BUNDLE",
    help="Learn from this network's answers too, or from the mean of several; the recipe says how much "
    "(loss.distillation).",
)
@click.option(
    "--splits", type=PATH, metavar="FILE.toml", help="Folds by case names, such as data/splits/brats_ssa_15.toml."
)
@click.option(
    "--fold",
    callback=_fold,
    metavar="N|all",
    help="The fold that is held out for validation, or all, one run after the other; needs --splits.",
)
@click.option("--tensorboard", "has_board", is_flag=True, help="Write curves and overlays to OUT/tensorboard.")
def command(
    cases: tuple[Path, ...],
    out: Path,
    recipe: str,
    max_memory: int | None,
    tune: bool,
    **changes: Any,
) -> None:
    """Train on CASES, a fold held out where one is named (or all, each in turn), and keep OUT/last.safetensors.

    CASES may be a folder that 'ssa-fast prepare' wrote: its volumes are mapped from the disk and need little memory.

    OUT also gets best.safetensors (the epoch that did best on the held-out cases), training_stats.json with a line an
    epoch, training_history.png and model_info.json. Interrupt it (Ctrl-C) and run the same command again: it goes on
    where it stopped. 'ssa-fast export' makes a bundle of a checkpoint. On a CPU `fast` takes half a second to a second
    a step, so an hour for 3,000 to 6,000.
    """
    try:
        from ssa_fast.train.config import load_recipe
        from ssa_fast.train.group import join_group, leave_group
        from ssa_fast.train.run import check_run
        from ssa_fast.train.state import LAST
    except ImportError as error:
        raise BackendUnavailable(f"training needs more: pip install 'ssa-fast[torch]' ({error})") from error
    splits, fold, start, teachers, has_board = (
        changes.pop(name) for name in ("splits", "fold", "start", "teachers", "has_board")
    )
    config = override(load_recipe(recipe), **changes)
    splits_of = _splits_of(cases, splits, fold, out)
    sources, config = _sources(start, teachers, config)
    for split in splits_of.values():
        check_run(config, split, sources)
    if has_board:
        from ssa_fast.train.tensorboard import BOARD, TensorBoard

        TensorBoard(out / BOARD)  # writes nothing: whether it is installed is known before anything is measured
    try:
        group = join_group()
        if group.device.type == "cpu":
            keep_freed_memory()
        is_new = start is None and not any((folder / LAST).exists() for folder in splits_of)
        if recipe == "whole_brain" and is_new and group.is_first:
            click.echo(_BARE, err=True)
        fitted = _fitted(config, sources, max_memory, group)
        execution = tuned(fitted, next(iter(splits_of)) / LAST, group, is_asked=tune)
        config = _fitted(dataclasses.replace(config, execution=execution), sources, max_memory, group)
        epochs = _train_each(config, splits_of, sources, group, has_board=has_board)
        if group.is_first and fold == _EVERY and len(epochs) == len(splits_of):
            _print_folds(out, epochs)
    finally:
        leave_group()


def _sources(start: Path | None, teachers: Sequence[Path], config: TrainConfig) -> tuple[Sources, TrainConfig]:
    """The trained networks that a run takes from, shipped ones by their names, and the configuration that fits them."""
    from ssa_fast.model.checkpoint import load_weights
    from ssa_fast.train.run import Sources

    def weights(given: Path) -> Checkpoint:
        return load_weights(shipped_bundle(str(given)) if str(given) in shipped_bundles() else given)

    first = None if start is None else weights(start)
    sources = Sources(start=first, teachers=[weights(teacher) for teacher in teachers])
    return sources, sources.fitted(config)


def _train_each(
    config: TrainConfig, splits_of: Mapping[Path, Split], sources: Sources, group: Group, *, has_board: bool
) -> list[Sequence[Mapping[str, Any]]]:
    """The epochs of each run that has come to its end: of all, or of those before one that was stopped."""
    from ssa_fast.train.cases import CaseStore
    from ssa_fast.train.loop import train
    from ssa_fast.train.placement import as_begun
    from ssa_fast.train.state import LAST

    sources = dataclasses.replace(sources, store=CaseStore())
    epochs = []
    with stop_signals() as is_stopped:
        for folder, split in splits_of.items():
            if group.is_first:  # of the processes torchrun began, the others are silent
                _print_plan(as_begun(config, folder / LAST), split, sources, group)
            with _told(folder, has_board=has_board) if group.is_first else nullcontext(_say_nothing) as tell:
                outcome = train(config, split, folder, tell, sources, is_stopped)
            if group.is_first:
                _print_outcome(outcome, config.preset)
            if outcome.step < outcome.steps:
                break
            epochs.append(outcome.epochs)
    return epochs


def _print_plan(config: TrainConfig, split: Split, sources: Sources, group: Group) -> None:
    from ssa_fast.train.memory import planned_memory
    from ssa_fast.train.placement import choose_placement

    placement = choose_placement(config, group)
    planned = planned_memory(config, placement.dtype.itemsize, sources.teacher_networks).peak / 1e9
    trained, held_out = len(split.training), len(split.held_out)
    names = ", ".join(files.name for files in split.held_out[:3]) + (", ..." if held_out > 3 else "")
    named = f" ({names})" if names else ""
    click.echo(f"training on {trained} cases, validating on {held_out}{named}, {_words(config)}")
    if sources.teachers:
        told = ", ".join(f"{teacher.spec.name} ({teacher.where})" for teacher in sources.teachers)
        click.echo(f"learning from the labels and from the answers of {told}")
    click.echo(f"{planned:.2f} GB planned for an update, on {placement.name}")
    if not split.held_out:
        click.echo(_NOTHING_HELD_OUT, err=True)


def _splits_of(cases: tuple[Path, ...], splits: Path | None, fold: int | None, out: Path) -> dict[Path, Split]:
    """The folder of each run, and its cases: one, or one a fold. All are looked at before the first is begun."""
    from ssa_fast.train.crossvalidate import fold_folder
    from ssa_fast.train.splits import count_folds, split_cases

    found = find_training_cases(cases)
    if fold != _EVERY or splits is None:
        return {out: split_cases(found, splits, fold)}
    return {fold_folder(out, number): split_cases(found, splits, number) for number in range(count_folds(splits))}


def _fitted(config: TrainConfig, sources: Sources, max_memory: int | None, group: Group) -> TrainConfig:
    """The same training within `max_memory`; a GPU gives no more from now on."""
    from ssa_fast.train.memory import fit_memory
    from ssa_fast.train.placement import choose_placement

    if max_memory is None:
        return config
    placement = choose_placement(config, group)
    placement.cap(max_memory)
    values, teachers = placement.dtype.itemsize, sources.teacher_networks
    return fit_memory(config, value_bytes=values, budget_bytes=max_memory, teachers=teachers)


def _words(config: TrainConfig) -> str:
    batches = f"{config.accumulate} x " if config.accumulate > 1 else ""
    levels = f", {config.recomputed_levels} levels recomputed" if config.recomputed_levels else ""
    bare = " without its last norm" if config.full_norm == "none" else ""
    return f"network {config.preset}{bare}, {batches}{config.batch} patches an update{levels}"


def _say_nothing(_progress: Progress) -> None:
    """For all processes but the first."""


@contextmanager
def _told(out: Path, *, has_board: bool) -> Iterator[Callable[[Progress], None]]:
    """What a run's reports are given to: the terminal, and TensorBoard where it is asked for."""
    with progress_display() as display:
        if not has_board:
            yield display
            return
        from ssa_fast.train.tensorboard import BOARD, TensorBoard

        with closing(TensorBoard(out / BOARD)) as board:

            def tell(progress: Progress) -> None:
                board.show(progress)
                display(progress)

            yield tell


def _print_outcome(outcome: Outcome, preset: str) -> None:
    """Say how a run has ended. Raises KeyboardInterrupt if it was stopped."""
    from ssa_fast.train.records import draw_history

    path = outcome.checkpoint
    if outcome.step > outcome.began_at:
        try:
            click.echo(f"drew {draw_history(path.parent, outcome.epochs)}")
        except BackendUnavailable as error:  # training is done all the same
            click.echo(str(error), err=True)
    if outcome.step < outcome.steps:
        click.echo(f"saved step {outcome.step} of {outcome.steps} in {path}: the same command goes on there", err=True)
        raise KeyboardInterrupt
    after = f"next: ssa-fast export {_quoted(path)} --out {_quoted(path.with_name(f'{preset}.onnx'))}"
    if outcome.began_at >= outcome.steps:
        click.echo(f"already finished: {path} holds {outcome.step} steps; more --steps go on with it; {after}")
    else:
        click.echo(f"wrote {path}; {after}")


def _quoted(path: Path) -> str:
    """A path as a shell takes it: of the platform, for a single quote means nothing to that of Windows."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))


def _print_folds(out: Path, epochs: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    from ssa_fast.train.crossvalidate import cross_validation, write_cross_validation

    found = cross_validation(dict(enumerate(epochs)))
    for line in found.lines():
        click.echo(line)
    click.echo(f"wrote {write_cross_validation(out, found)}")
