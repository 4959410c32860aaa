"""`ssa-fast export`: from a checkpoint or a bundle to a bundle in another arithmetic, or to an engine."""

from __future__ import annotations

import importlib
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ssa_fast.backends import Precision
from ssa_fast.cli.candidates import print_candidates
from ssa_fast.cli.options import PATH
from ssa_fast.cli.progress import notices_display
from ssa_fast.config import override
from ssa_fast.errors import BackendUnavailable, ConfigError
from ssa_fast.export.engine_folder import Place
from ssa_fast.export.notices import NOTICES
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.pretrained import bundle_path
from ssa_fast.volume.case import CaseFiles, find_cases
from ssa_fast.volume.phantom import write_phantoms
from ssa_fast.volume.postprocess import POSTPROCESSING

__all__ = ["command"]

_EXTRAS = "export needs more: pip install 'ssa-fast[torch,export,cpu]'"


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What is to be made of a bundle."""

    source: str
    backend: str
    precision: Precision | None
    profile: str | None
    rewrites: tuple[str, ...]
    out: Path | None
    has_cases: bool  # else a phantom stands for them
    is_forced: bool  # also over an engine that is better proven

    @property
    def place(self) -> Place:
        """Where an engine goes."""
        return Place(root=self.out or Path("engines"), is_forced=self.is_forced)

    def __post_init__(self) -> None:
        if self.backend != "ort" and self.rewrites:
            raise ConfigError("--rewrite is for --backend ort: rewrite the bundle, then build the engine from that")
        if self.backend == "ort" and self.is_forced:
            raise ConfigError("--force is for engines: a bundle is written over the one that is there without it")
        if self.backend == "ort" and self.precision == "bf16":
            raise ConfigError("no bundle is in bf16: take --backend openvino, or 'infer --precision bf16'")
        if self.backend == "ort" and (self.out is None or self.out.suffix != ".onnx"):
            raise ConfigError(f"--out {self.out or ''}: a bundle's name ends in .onnx")
        if self.precision == "int8" and not self.has_cases:
            raise ConfigError("int8 is calibrated on real brains: give --cases, some of those it was trained on")


@click.command(short_help="Turn a checkpoint or bundle into a bundle or an engine.")
@click.argument("source")
@click.option("--out", type=PATH, metavar="PATH", help="The bundle to write, or the folder of engines; else engines.")
@click.option(
    "--backend",
    type=click.Choice(["ort", "openvino", "trt", "trt-rtx"]),
    default="ort",
    show_default=True,
    help="ort: a bundle for every backend; the others: an engine for this machine.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "bf16", "int8"]),
    help="Arithmetic; else float32 for a bundle, for an engine the fastest of the profile's.",
)
@click.option("--profile", metavar="NAME", help="What an engine is built for: a name in export/, or a .toml file.")
@click.option(
    "--rewrite",
    "rewrites",
    multiple=True,
    type=click.Choice(["depth-to-space", "split-concat"]),
    help="Compute the same in other steps; repeat for both.",
)
@click.option(
    "--case",
    "--cases",
    "case_paths",
    type=PATH,
    multiple=True,
    help="Proven on these; repeat for more. Else a phantom.",
)
@click.option("--force", "is_forced", is_flag=True, help="Write an engine also over one that was better proven.")
@click.option("--name", help="Of a checkpoint: what the network is called; else its preset's name.")
@click.option("--licence", help="Of a checkpoint: under which the weights may be used.")
@click.option("--attribution", help="Of a checkpoint: whose data they were trained on.")
@click.option(
    "--postprocess",
    type=click.Choice([*POSTPROCESSING]),
    help="Of a bundle to be written: how infer mends its labels; else as SOURCE has it, a checkpoint not at all.",
)
@click.option(
    "--score", "scores", multiple=True, metavar="NAME=VALUE", help="A measured score to record; repeat for more."
)
@click.option(
    "--weights",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Of a checkpoint: as stored.",
)
def command(
    case_paths: tuple[Path, ...],
    scores: tuple[str, ...],
    weights: str,
    name: str | None,
    licence: str | None,
    **wished: Any,
) -> None:
    """Make of SOURCE a bundle for every backend, or an engine for this machine.

    SOURCE is a checkpoint (.safetensors), a bundle (.onnx) or a shipped bundle's name. What is written was held against
    SOURCE in float32 on the cases given, and is within its limits; that record travels with it. int8 is calibrated on
    real cases, so it needs --cases.
    """
    words = {"name": name, "licence": licence, "attribution": wished.pop("attribution")}
    words["postprocessing"] = wished.pop("postprocess")
    wish = _Wish(has_cases=bool(case_paths), **wished)
    is_checkpoint = wish.source.endswith(".safetensors")
    if is_checkpoint and wish.backend != "ort":
        raise ConfigError(
            f"an engine is built from a bundle: ssa-fast export {wish.source} --out mine.onnx comes first"
        )
    if not is_checkpoint and (scores or words["name"] or words["licence"] or words["attribution"]):
        raise ConfigError("--name, --licence, --attribution and --score are for checkpoints: a bundle keeps its own")
    if wish.backend != "ort" and words["postprocessing"]:
        raise ConfigError("an engine mends as its bundle does: write a bundle with --postprocess, and build from that")
    if wish.backend == "ort" and wish.profile:
        raise ConfigError("--profile is for engines: take --backend openvino, trt or trt-rtx, or leave it away")
    if is_checkpoint and wish.backend == "ort" and wish.precision in (None, "float32") and not wish.rewrites:
        assert wish.out is not None  # checked with the wish
        with _cases(case_paths) as cases:
            _export_checkpoint(Path(wish.source), wish.out, cases, (scores, words, weights))
        return
    with tempfile.TemporaryDirectory() as folder:
        if is_checkpoint:
            path = Path(folder, "checkpoint.onnx")
            with _cases(case_paths) as cases:  # one will do: all follow, with what is made of it
                _export_checkpoint(Path(wish.source), path, cases[:1], (scores, words, weights))
        else:
            path = bundle_path(wish.source)
        bundle = read_bundle(path, is_unsealed_allowed=wish.backend == "ort")  # what is written from it has one
    bundle = replace(bundle, spec=override(bundle.spec, postprocessing=words["postprocessing"]))
    if not bundle.has_checksum:
        click.echo(f"{path} has no checksum: whether it is as it was written cannot be told")
    with _cases(case_paths) as cases:
        if wish.backend == "ort":
            _write_bundle(bundle, wish, cases)
        elif wish.backend == "openvino":
            _build_openvino(bundle, wish, cases)
        else:
            _build_tensorrt(bundle, wish, cases)


def _write_bundle(bundle: Bundle, wish: _Wish, cases: Sequence[CaseFiles]) -> None:
    try:
        from ssa_fast.export import convert
        from ssa_fast.export.parity import compare, limits_for, open_reference, read_proofs
        from ssa_fast.export.stored_answers import stored_answers
    except ImportError as error:
        raise BackendUnavailable(f"{_EXTRAS} ({error})") from error
    from ssa_fast.backends import open_backend

    assert wish.out is not None  # checked with the wish
    name, reference = open_reference(bundle)
    proofs = read_proofs(cases, bundle.spec.divisor)
    with notices_display(NOTICES), ExitStack() as stack:
        with closing(reference):
            answers = stack.enter_context(stored_answers(reference, proofs, wish.out))
        if wish.precision == "int8":
            form = convert.int8_form(bundle, answers, lambda one: open_backend("ort", one), rewrites=wish.rewrites)
        else:
            form = convert.form_of(bundle, "float16" if wish.precision == "float16" else "float32", wish.rewrites)
        with closing(open_backend("ort", form.bundle)) as candidate:
            parity = compare(name, answers, candidate, limits_for(form.bundle.arithmetic, candidate.device))
    written = convert.write_form(form, parity, wish.out)
    sizes = f"{len(written.content) / 1e6:.1f} MB, its source has {len(bundle.content) / 1e6:.1f} MB"
    click.echo(f"wrote {wish.out}: computes in {written.arithmetic}, {sizes}")
    if form.quantization is not None:
        kept, times = form.quantization.kept, form.quantization.times_as_long
        click.echo(f"layers in float: {', '.join(kept) or 'none'}; {times:.2f} times as long as with all in int8")
        click.echo(f"calibrated on {', '.join(form.quantization.calibrated_on)}")
    click.echo(f"proven on {parity}")


def _build_openvino(bundle: Bundle, wish: _Wish, cases: Sequence[CaseFiles]) -> None:
    try:
        from ssa_fast.export import to_openvino
        from ssa_fast.export.parity import open_reference, read_proofs
        from ssa_fast.export.profile import read_profile
        from ssa_fast.export.stored_answers import stored_answers
    except ImportError as error:
        raise BackendUnavailable(
            f"an OpenVINO engine needs more: pip install 'ssa-fast[openvino,export,cpu]' ({error})"
        ) from error
    profile_name = wish.profile or to_openvino.usual_profile()
    profile = read_profile(profile_name)
    if "openvino" not in profile.backends:
        raise ConfigError(f"profile {profile_name} is for {', '.join(profile.backends)}, not for openvino")
    wanted = (wish.precision,) if wish.precision else profile.precisions
    if not wish.has_cases:  # int8 asked for by name was refused before
        wanted = tuple(precision for precision in wanted if precision != "int8")
        click.echo("no case is given: proven on a phantom, and int8, which is calibrated on real brains, is not tried")
    command = ["ssa-fast", "export", wish.source, "--backend", "openvino", "--profile", profile_name]
    command += ["--precision", wish.precision] if wish.precision else []
    command += ["--out", str(wish.out)] if wish.out else []
    _, reference = open_reference(bundle)
    proofs = read_proofs(cases, bundle.spec.divisor)
    with notices_display(NOTICES), ExitStack() as kept:
        with closing(reference):
            answers = kept.enter_context(stored_answers(reference, proofs, wish.place.root))
        folder, manifest = to_openvino.build_openvino(
            bundle,
            replace(profile, precisions=wanted),
            Path(profile_name).stem,
            answers,
            wish.place,
            command=shlex.join(command) + " --cases CASES",
        )
    print_candidates(manifest.candidates)
    for what in ("layers in float", "times as long as all in int8"):
        if what in manifest.built_with:
            click.echo(f"{what}: {manifest.built_with[what]}")
    click.echo(f"wrote {folder}: {(folder / manifest.file).stat().st_size / 1e6:.1f} MB")
    click.echo(f"proven on {manifest.parity}")


def _build_tensorrt(bundle: Bundle, wish: _Wish, cases: list[CaseFiles]) -> None:
    builder = importlib.import_module("ssa_fast.cli.export_tensorrt")  # needs what only TensorRT's users have
    is_rtx = wish.backend == "trt-rtx"
    profile = wish.profile or ("ampere_plus" if is_rtx else "gtx1650")
    named = replace(bundle, path=Path(wish.source))  # as it is called in the command that builds the engine again
    builder.build(named, profile, wish.precision, cases if wish.has_cases else [], wish.place, is_rtx=is_rtx)


def _export_checkpoint(
    checkpoint: Path,
    out: Path,
    cases: Sequence[CaseFiles],
    facts: tuple[tuple[str, ...], dict[str, object], str],
) -> None:
    try:
        from ssa_fast.export.to_bundle import export_bundle
        from ssa_fast.model.checkpoint import load_checkpoint
    except ImportError as error:
        raise BackendUnavailable(f"{_EXTRAS} ({error})") from error
    scores, words, weights = facts
    loaded = load_checkpoint(checkpoint)
    spec = override(loaded.spec, scores=dict(_score(text) for text in scores), **words)
    with notices_display(NOTICES):
        parity = export_bundle(loaded, spec, cases, out, is_float16=weights == "float16")
    click.echo(f"wrote {out}: {out.stat().st_size / 1e6:.1f} MB, weights in {weights}")
    click.echo(f"proven on {parity}")


@contextmanager
def _cases(paths: tuple[Path, ...]) -> Iterator[list[CaseFiles]]:
    """The cases to prove on: those given, else a phantom that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield find_cases(list(paths) if paths else write_phantoms(Path(folder), cases=1, seed=0))


def _score(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise ConfigError(f"--score {text}: wanted NAME=VALUE, such as 'fold 0 WT Dice=0.85'") from error
