"""`ssa-fast export --backend trt` and `--backend trt-rtx`: from a bundle to an engine for one GPU."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import click

from ssa_fast.backends import open_backend
from ssa_fast.backends.tensorrt_library import load_library
from ssa_fast.cli.candidates import print_candidates
from ssa_fast.cli.progress import notices_display
from ssa_fast.errors import BackendUnavailable, ConfigError, SsaFastError
from ssa_fast.export.engine_folder import Place
from ssa_fast.export.notices import NOTICES
from ssa_fast.export.profile import Profile, read_profile
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.case import CaseFiles

__all__ = ["build"]


def build(
    bundle: Bundle,
    profile_name: str,
    precision: str | None,
    cases: list[CaseFiles],
    place: Place,
    *,
    is_rtx: bool,
) -> None:
    """Build the engine of a profile in its `place`, print what was tried, and where the best of it lies.

    Raises what `export.tensorrt_candidates.build_best` does, ConfigError for a profile that is not there.
    """
    try:
        from ssa_fast.export.tensorrt_candidates import Job, build_best
    except ImportError as error:
        raise BackendUnavailable(f"building needs more: pip install 'ssa-fast[export,cpu]' ({error})") from error
    profile = read_profile(profile_name)
    if precision is not None:
        if precision not in profile.precisions:
            raise ConfigError(f"profile {profile_name} tries {', '.join(profile.precisions)}, not {precision}")
        profile = dataclasses.replace(profile, precisions=(precision,))
    ours = load_library(is_rtx=is_rtx)
    click.echo(f"{ours.name} builds {bundle.spec.name} for profile {profile_name}: {profile.description}")
    job = Job(
        ours=ours,
        bundle=bundle,
        profile=profile,
        profile_name=profile_name,
        cases=cases,
        root=place.root,
        is_forced=place.is_forced,
        quantized=_quantized(bundle, profile, cases, place.root),
        precision=precision,
    )
    with notices_display(NOTICES):
        folder, manifest = build_best(job)
    print_candidates(manifest.candidates)
    if manifest.parity is None:
        click.echo(f"wrote {folder}: a check that the graph builds within the profile's memory; it was not run")
        return
    click.echo(f"proven on {manifest.parity}")
    kept = next(one for one in manifest.candidates if one.verdict.startswith("kept"))
    if profile.target_ms is not None and kept.milliseconds is not None:
        verdict = "met" if kept.milliseconds <= profile.target_ms else "missed"
        click.echo(f"target of {profile.target_ms:.0f} ms a window: {verdict}, with {kept.milliseconds:.1f} ms")
    click.echo(f"wrote {folder}: run it with 'ssa-fast infer --bundle {folder} CASES'")


def _quantized(bundle: Bundle, profile: Profile, cases: list[CaseFiles], root: Path) -> Bundle | None:
    """The network in int8, for a profile that tries it, calibrated and proven on the cases by ONNX Runtime."""
    if "int8" not in profile.precisions or not cases:
        return None
    from ssa_fast.export.convert import int8_form
    from ssa_fast.export.parity import open_reference, read_proofs
    from ssa_fast.export.stored_answers import stored_answers

    _, reference = open_reference(bundle)
    limits, proofs = profile.limits_of("int8"), read_proofs(cases, bundle.spec.divisor)
    try:
        with notices_display(NOTICES), closing(reference), stored_answers(reference, proofs, root) as answers:
            return int8_form(bundle, answers, lambda one: open_backend("ort", one), limits=limits).bundle
    except SsaFastError as error:  # the other precisions may serve
        click.echo(f"int8 is not tried: {error}")
        return None
