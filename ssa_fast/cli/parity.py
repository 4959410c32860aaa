"""`ssa-fast parity`: whether a bundle or an engine still gives the answers of the float32 network."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import click

from ssa_fast.backends import BACKENDS, Backend, choose_backend, open_backend, open_engine
from ssa_fast.backends.manifest import is_engine, read_manifest, write_manifest
from ssa_fast.cli.options import PATH
from ssa_fast.config import to_mapping
from ssa_fast.errors import ConfigError
from ssa_fast.export.engine_folder import proven_on
from ssa_fast.export.parity import Proof, fitted, limits_for, merged, open_reference, parities, read_proofs
from ssa_fast.export.reference import reference_of_bundle, reference_of_engine
from ssa_fast.files import write_json
from ssa_fast.labels import REGIONS
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.model.parity import Limits, Parity
from ssa_fast.pretrained import bundle_path
from ssa_fast.volume.case import find_cases

__all__ = ["command"]


@click.command(short_help="Hold a bundle or an engine against its float32 bundle again.")
@click.argument("candidate")
@click.argument("cases", nargs=-1, required=True, type=PATH)
@click.option("--bundle", "reference", metavar="NAME", help="The float32 bundle; else the shipped one of equal parent.")
@click.option("--backend", type=click.Choice(["auto", *BACKENDS]), default="auto", help="What runs a bundle.")
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write all numbers there, case by case.")
def command(
    candidate: str, cases: tuple[Path, ...], reference: str | None, backend: str, json_path: Path | None
) -> None:
    """Compare CANDIDATE, an engine's folder or a bundle, with the float32 network on CASES.

    The reference is that bundle in torch float32, or in ONNX Runtime where torch is absent. An engine's manifest gets
    the new record, passed or not; it keeps one of real brains where CASES are phantoms. Exit code 2 if the limits do
    not hold.
    """
    opened, limits, bundle = _opened(Path(candidate), candidate, backend, reference)
    each = []
    shapes = read_manifest(Path(candidate)).shapes if is_engine(Path(candidate)) else ()
    with closing(opened):
        name, held = open_reference(bundle)
        click.echo(f"{opened.device} against {name}")
        with closing(held):
            proofs = (_fitted(proof, shapes) for proof in read_proofs(find_cases(cases), opened.spec.divisor))
            for one in parities(proofs, (name, held), opened, limits):
                each.append(one)
                click.echo(_line(one.cases[0], one))
    parity = merged(each)
    click.echo(_line("all", parity))
    if json_path is not None:
        write_json(json_path, {"all": to_mapping(parity), "cases": [to_mapping(one) for one in each]})
    if is_engine(Path(candidate)):
        _record(Path(candidate), parity)
    parity.check("it is not to be trusted")
    click.echo(f"proven on {parity}")


def _record(folder: Path, parity: Parity) -> None:
    """Put the record into an engine's manifest; one that was passed on phantoms alone does not replace a better."""
    manifest = read_manifest(folder)
    if parity.has_passed and proven_on(parity) < proven_on(manifest.parity):
        click.echo(f"the manifest of {folder} keeps its record, which is of real brains")
        return
    write_manifest(folder, dataclasses.replace(manifest, parity=parity))
    click.echo(f"the manifest of {folder} has the new record")


def _opened(path: Path, candidate: str, backend: str, reference: str | None) -> tuple[Backend, Limits, Bundle]:
    """What is tried, what it is allowed, and the float32 bundle that it is held against."""
    if is_engine(path):
        manifest = read_manifest(path)
        if backend not in ("auto", manifest.backend):
            raise ConfigError(f"{path} is an engine for --backend {manifest.backend}: leave --backend away")
        opened = open_engine(path, is_unproven_allowed=True)
        bundle = reference_of_engine(manifest, path, reference)
        limits = manifest.parity.limits if manifest.parity else limits_for(manifest.precision, opened.device)
        return opened, limits, bundle
    loaded = read_bundle(bundle_path(candidate))
    opened = open_backend(choose_backend()[0] if backend == "auto" else backend, loaded)
    bundle = reference_of_bundle(loaded, reference)
    return opened, limits_for(loaded.arithmetic, opened.device), bundle


def _fitted(proof: Proof, shapes: tuple[tuple[int, int, int], ...]) -> Proof:
    """The proof in a shape that the engine takes; a line says where that is not the brain's own."""
    made = fitted(proof, shapes)
    if made is not proof:
        before, after = (" x ".join(map(str, one.windows.shape[2:])) for one in (proof, made))
        click.echo(f"{proof.name}: its box of {before} is cut or padded to {after}, which the engine takes")
    return made


def _line(name: str, parity: Parity) -> str:
    changes = " ".join(f"{region} {parity.dice_change[region]:+.4f}" for region in REGIONS if parity.dice_change)
    error = f"logits off by {parity.mean_logit_error:.4f} on average, {parity.largest_logit_error:.3f} at most"
    return f"{name:24} equal labels {parity.label_agreement:.4%}  Dice {changes or 'unknown'}  {error}"
