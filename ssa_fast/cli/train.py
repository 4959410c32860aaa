"""`ssa-fast train`: from cases with references to a checkpoint."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from ssa_fast.cli.options import FOLDER, PATH
from ssa_fast.config import load_toml, override
from ssa_fast.errors import BackendUnavailable
from ssa_fast.volume.case import find_cases

if TYPE_CHECKING:
    from ssa_fast.train.loop import Progress

__all__ = ["command"]


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
        from ssa_fast.train.splits import split_cases
    except ImportError as error:
        raise BackendUnavailable(f"training needs more: pip install 'ssa-fast[torch]' ({error})") from error
    config = override(load_toml(TrainConfig, config_path) if config_path else TrainConfig(), **changes)
    split = split_cases(find_cases(cases), splits, fold)
    click.echo(f"training on {len(split.training)} cases, validating on {len(split.held_out)}, network {config.preset}")
    signal.signal(signal.SIGTERM, _interrupt)  # a batch system's way of stopping a job: save as on Ctrl-C
    path = train(config, split, out, _print_progress, load_checkpoint(start) if start else None)
    click.echo(f"wrote {path}; next: ssa-fast export {path} --out {config.preset}.onnx")


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
