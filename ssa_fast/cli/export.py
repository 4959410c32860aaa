"""`ssa-fast export`: from a checkpoint to a bundle."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from ssa_fast.cli.options import PATH
from ssa_fast.config import override
from ssa_fast.errors import BackendUnavailable, ConfigError
from ssa_fast.volume.case import Case, find_cases, read_case
from ssa_fast.volume.phantom import write_phantoms

__all__ = ["command"]


@click.command(short_help="Turn a checkpoint into a bundle that every backend runs.")
@click.argument("checkpoint", type=PATH)
@click.option("--out", type=PATH, required=True, metavar="FILE.onnx", help="The bundle to write.")
@click.option("--name", help="What the network is called; else its preset's name.")
@click.option("--case", "case_path", type=PATH, help="The one case on which it is proven; else a phantom.")
@click.option("--licence", help="Under which the weights may be used.")
@click.option("--attribution", help="Whose data they were trained on.")
@click.option(
    "--score", "scores", multiple=True, metavar="NAME=VALUE", help="A measured score to record; repeat for more."
)
@click.option(
    "--weights", type=click.Choice(["float16", "float32"]), default="float16", show_default=True, help="As stored."
)
def command(
    checkpoint: Path, out: Path, case_path: Path | None, scores: tuple[str, ...], weights: str, **words: str | None
) -> None:
    """Write the averaged weights of CHECKPOINT as one self-describing ONNX file.

    It is written only if ONNX Runtime gives the same labels with it as PyTorch with the checkpoint, on at least
    99.9 % of a brain's voxels; that record travels in the file.
    """
    try:
        from ssa_fast.export.to_bundle import export_bundle
        from ssa_fast.model.checkpoint import load_checkpoint
    except ImportError as error:
        raise BackendUnavailable(f"export needs more: pip install 'ssa-fast[torch,export,cpu]' ({error})") from error
    if out.suffix != ".onnx":
        raise ConfigError(f"--out {out}: a bundle's name ends in .onnx")
    loaded = load_checkpoint(checkpoint)
    spec = override(loaded.spec, scores=dict(_score(text) for text in scores), **words)
    parity = export_bundle(loaded, spec, _proving_case(case_path), out, is_float16=weights == "float16")
    click.echo(f"wrote {out}: {out.stat().st_size / 1e6:.1f} MB, weights in {weights}")
    click.echo(f"proven on {parity}")


def _proving_case(path: Path | None) -> Case:
    if path is not None:
        found = find_cases([path])
        if len(found) > 1:
            raise ConfigError(
                f"--case {path} holds {len(found)} cases, wanted one: give one of them, such as {found[0].folder}"
            )
        return read_case(found[0])
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), cases=1, seed=0)
        return read_case(find_cases([Path(folder)])[0])


def _score(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise ConfigError(f"--score {text}: wanted NAME=VALUE, such as 'fold 0 WT Dice=0.85'") from error
