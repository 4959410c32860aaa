"""`ssa-fast infer`: cases in, segmentations out."""

from __future__ import annotations

import statistics
import sys
from contextlib import closing
from pathlib import Path

import click

from ssa_fast.backends import BACKENDS, Choice, choose_backend, open_backend
from ssa_fast.cli.options import FOLDER, cases_argument, chosen_cases, modality_options
from ssa_fast.errors import CohortError
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
    "--bundle", default="lite", show_default=True, help="A shipped bundle's name, or a path to an .onnx file."
)
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
    **named: Path | None,
) -> None:
    """Segment CASES into OUT/CASE.nii.gz, with OUT/CASE.json beside each that says how it was made.

    CASES are case folders, folders of cases, or files; names of BraTS 2018 to 2024 are understood. Labels: 1 NCR
    (necrotic core), 2 ED (oedema), 3 ET (enhancing tumor). A bad case is named and passed by; the exit code is then 2.

    Not a medical device: every result is for a radiologist to judge.
    """
    found = chosen_cases(cases, named)
    is_path = bundle.endswith(".onnx")
    loaded = read_bundle(Path(bundle) if is_path else shipped_bundle(bundle))
    facts: dict[str, object] = {
        "bundle_sha256": loaded.sha256,
        "asked_for": {"backend": backend, "precision": precision},
    }
    if backend == "auto":
        backend, reason = choose_backend()
        facts["backend_chosen"] = f"{backend}: {reason}"
        click.echo(f"backend {backend}: {reason}")
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is known before the network runs
    seconds, failed = [], []
    with closing(open_backend(backend, loaded, precision)) as opened:
        click.echo(f"network {loaded.spec.name} by {opened.device}")
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
