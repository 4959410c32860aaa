"""`ssa-fast infer`: cases in, segmentations out."""

from __future__ import annotations

import statistics
import sys
from contextlib import closing
from pathlib import Path

import click

from ssa_fast.backends import BACKENDS, Backend, Choice, choose_backend, open_backend, open_engine
from ssa_fast.backends.manifest import is_engine, read_manifest
from ssa_fast.cli.options import FOLDER, cases_argument, chosen_cases, modality_options
from ssa_fast.errors import CohortError, ConfigError
from ssa_fast.infer.cohort import Outcome, segment_cohort
from ssa_fast.infer.plan import Plan
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.measure import peak_memory_bytes
from ssa_fast.model.bundle import read_bundle
from ssa_fast.pretrained import shipped_bundle

__all__ = ["command"]


@click.command(short_help="Segment cases.")
@cases_argument
@modality_options
@click.option("--out", type=FOLDER, default=Path("predictions"), show_default=True, help="Where the results go.")
@click.option(
    "--backend", type=click.Choice(["auto", *BACKENDS]), default="auto", show_default=True, help="What runs it."
)
@click.option(
    "--bundle",
    default="lite",
    show_default=True,
    help="A shipped bundle's name, a path to an .onnx file, or the folder of an engine.",
)
@click.option("--unproven", is_flag=True, help="Run an engine that was not proven equal to its bundle.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bf16"]),
    default="auto",
    show_default=True,
    help="Arithmetic; auto: bf16 where the backend has it and this processor gains from it.",
)
def command(
    cases: tuple[Path, ...],
    out: Path,
    backend: str,
    bundle: str,
    precision: Choice,
    unproven: bool,
    **named: Path | None,
) -> None:
    """Segment CASES into OUT/CASE.nii.gz, with OUT/CASE.json beside each that says how it was made.

    CASES are case folders, folders of cases, or files; names of BraTS 2018 to 2024 are understood. Labels: 1 NCR
    (necrotic core), 2 ED (oedema), 3 ET (enhancing tumor). A bad case is named and passed by; the exit code is then 2.

    Not a medical device: every result is for a radiologist to judge.
    """
    found = chosen_cases(cases, named)
    opened, facts = _opened(backend, bundle, precision, is_unproven_allowed=unproven)
    seconds, failed = [], []
    with closing(opened):
        out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is known before the network runs
        click.echo(f"network {opened.spec.name} by {opened.device}")
        outcomes = segment_cohort(Segmenter(opened), found, out, facts, _print_plan)
        for place, outcome in enumerate(outcomes, start=1):
            _print_outcome(outcome, place, len(found))
            if outcome.error is None:  # the outcome itself, with its labels, is let go
                seconds.append(sum(outcome.seconds.values()))
            else:
                failed.append(outcome.name)
    if seconds:
        median = statistics.median(seconds)
        click.echo(
            f"{len(seconds)} of {len(found)} cases in {out}: median {median:.2f} s a case, "
            f"peak memory {peak_memory_bytes() / 1e9:.2f} GB"
        )
    if failed:
        raise CohortError(f"{len(failed)} of {len(found)} cases failed: {', '.join(failed)} (each has its line above)")


def _opened(
    backend: str, bundle: str, precision: Choice, *, is_unproven_allowed: bool
) -> tuple[Backend, dict[str, object]]:
    """What runs the network, and what a record says of how it was chosen."""
    facts: dict[str, object] = {"asked_for": {"backend": backend, "precision": precision}}
    path = Path(bundle)
    if is_engine(path):
        manifest = read_manifest(path)
        if backend not in ("auto", manifest.backend) or precision not in ("auto", manifest.precision):
            raise ConfigError(
                f"{path} is an engine for --backend {manifest.backend} in {manifest.precision}: leave both away"
            )
        facts |= {"bundle_sha256": manifest.bundle_sha256, "engine_sha256": manifest.engine_sha256}
        return open_engine(path, is_unproven_allowed=is_unproven_allowed), facts
    loaded = read_bundle(path if bundle.endswith(".onnx") else shipped_bundle(bundle))
    facts["bundle_sha256"] = loaded.sha256
    if backend == "auto":
        backend, reason = choose_backend()
        facts["backend_chosen"] = f"{backend}: {reason}"
        click.echo(f"backend {backend}: {reason}")
    return open_backend(backend, loaded, precision), facts


def _print_plan(name: str, plan: Plan) -> None:
    click.echo(f"{name}: {plan}")
    sys.stdout.flush()


def _print_outcome(outcome: Outcome, place: int, count: int) -> None:
    head = f"[{place}/{count}] {outcome.name}"
    if outcome.segmentation is None:
        message = str(outcome.error).removeprefix(f"case {outcome.name}: ")
        stale = " (what is in its place is of an earlier run)" if outcome.is_stale else ""
        click.echo(f"{head}: {message}{stale}", err=True)
        return
    stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in outcome.seconds.items())
    volumes = ", ".join(f"{name} {volume:.1f}" for name, volume in outcome.segmentation.volumes_ml.items())
    click.echo(f"{head}: {sum(outcome.seconds.values()):.2f} s ({stages}); {volumes} ml")
    sys.stdout.flush()
