"""`ssa-fast phantom`: artificial cases with an exact reference."""

from __future__ import annotations

from pathlib import Path

import click

from ssa_fast.cli.options import FOLDER
from ssa_fast.volume.phantom import write_phantoms

__all__ = ["command"]


@click.command(short_help="Write artificial cases with an exact reference.")
@click.argument("out", type=FOLDER)
@click.option("--cases", type=int, default=3, show_default=True, help="How many.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Equal seeds give equal files; the name ends in it."
)
def command(out: Path, cases: int, seed: int) -> None:
    """Write phantom cases into OUT: names, shape, affine and types of BraTS-SSA, and the exact label map.

    Their names are BraTS-SSA-9NNNN-SSS: 90000 and the number of the case, then the seed (000 for seed 0). So phantoms
    of several seeds may lie in one folder.

    They are for trying and testing. How well a network does on them says nothing of how it does on patients.
    """
    for folder in write_phantoms(out, cases, seed):
        click.echo(f"wrote {folder}")
