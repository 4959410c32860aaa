"""`ssa-fast train`: from cases with references to a checkpoint."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.config import load_toml, override
from ssa_fast.errors import BackendUnavailable, ConfigError
from ssa_fast.volume.case import CaseFiles, find_cases

if TYPE_CHECKING:
    from ssa_fast.train.loop import Progress

__all__ = ["Splits", "command", "split_cases"]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Case names by fold, as `data/splits/*.toml` hold them."""

    folds: tuple[tuple[str, ...], ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        names = [name for fold in self.folds for name in fold]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"case {twice[0]} is in two folds: a case may be held out once only")


@click.command(short_help="Train a network on cases with references.")
@click.argument("cases", nargs=-1, required=True, type=PATH)
@click.option(
    "--out", type=FOLDER, required=True, help="Where the checkpoint goes; a run that is there is gone on with."
)
@click.option(
    "--config", "config_path", type=PATH, metavar="FILE.toml", help="Settings; the options below go before it."
)
@click.option("--preset", help="Network: lite or reference.")
@click.option("--steps", type=int, help="Updates of the weights.")
@click.option("--batch", type=int, help="Patches a step.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bf16", "fp16"]), help="Arithmetic of the network.")
@click.option("--seed", type=int, help="Of everything random.")
@click.option("--from", "start", type=PATH, metavar="CHECKPOINT", help="Begin with the weights of another run.")
@click.option(
    "--splits", type=PATH, metavar="FILE.toml", help="Folds by case names, such as data/splits/brats_ssa_15.toml."
)
@click.option("--fold", type=int, help="The fold that is held out for validation; needs --splits.")
def command(
    cases: tuple[Path, ...],
    out: Path,
    config_path: Path | None,
    start: Path | None,
    splits: Path | None,
    fold: int | None,
    **changes: Any,
) -> None:
    """Train on CASES, a fold held out where one is named, and keep OUT/last.safetensors.

    Interrupt it (Ctrl-C) and run the same command again: it goes on where it stopped. 'ssa-fast export' makes a
    bundle of the checkpoint. On a CPU the lite network takes about a second a step, so an hour for 3,000.
    """
    try:
        from ssa_fast.model.checkpoint import load_checkpoint
        from ssa_fast.train.config import TrainConfig
        from ssa_fast.train.loop import train
    except ImportError as error:
        raise BackendUnavailable(f"training needs more: pip install 'ssa-fast[torch]' ({error})") from error
    config = override(load_toml(TrainConfig, config_path) if config_path else TrainConfig(), **changes)
    training, validation = split_cases(find_cases(cases), splits, fold)
    click.echo(f"training on {len(training)} cases, validating on {len(validation)}, network {config.preset}")
    signal.signal(signal.SIGTERM, _interrupt)  # a batch system's way of stopping a job: save as on Ctrl-C
    path = train(config, training, validation, out, _print_progress, load_checkpoint(start) if start else None)
    click.echo(f"wrote {path}; next: ssa-fast export {path} --out {config.preset}.onnx")


def split_cases(
    cases: list[CaseFiles], splits: Path | None, fold: int | None
) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """(training, validation): all cases and none, or without and with the cases of one fold.

    Raises ConfigError for half of the two options, a fold that there is not, or held-out cases that were not given.
    """
    if (splits is None) != (fold is None):
        raise ConfigError("--splits and --fold belong together: give both, or neither to train on all cases")
    if splits is None or fold is None:
        return cases, []
    folds = load_toml(Splits, splits).folds
    if not 0 <= fold < len(folds):
        raise ConfigError(f"--fold {fold}: {splits} has folds 0 to {len(folds) - 1}")
    held_out = set(folds[fold])
    missing = sorted(held_out - {files.name for files in cases})
    if missing:
        raise ConfigError(f"fold {fold} of {splits} holds out {', '.join(missing)}, not among the cases given")
    training = [files for files in cases if files.name not in held_out]
    return training, [files for files in cases if files.name in held_out]


def _print_progress(progress: Progress) -> None:
    minutes = progress.seconds_left / 60
    click.echo(
        f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}  rate {progress.learning_rate:.1e}  "
        f"{progress.patches_per_second:.2f} patches/s  {minutes:.0f} min left"
    )
    if progress.dice is not None:
        click.echo(
            "    held out: Dice " + "  ".join(f"{target} {value:.3f}" for target, value in progress.dice.items())
        )


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
