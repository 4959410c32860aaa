"""`ssa-fast infer`: cases in, segmentations out."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import click

from ssa_fast.backends import BACKENDS, Backend, Choice
from ssa_fast.backends.manifest import is_engine
from ssa_fast.cli.cache import cache_folder_if_any
from ssa_fast.cli.options import (
    ARITHMETIC,
    FOLDER,
    WindowCommand,
    arithmetic_of,
    bytes_of,
    cases_argument,
    chosen_cases,
    modality_options,
    share_of,
    window_of,
)
from ssa_fast.cli.outcomes import say_outcomes
from ssa_fast.cli.pace import keep_pace_of, pace_key, pace_of
from ssa_fast.cli.quality import quality_of, quality_options
from ssa_fast.config import to_mapping
from ssa_fast.errors import CohortError, ConfigError, SsaFastError
from ssa_fast.hardware import keep_heap_small
from ssa_fast.infer.cohort import CohortRun, segment_cohort, shard
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.opening import open_network
from ssa_fast.infer.plan import Plan, Wish
from ssa_fast.infer.quality import Quality
from ssa_fast.infer.record import RESULTS
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.pretrained import DEFAULT_BUNDLE
from ssa_fast.volume.case import CaseFiles, read_case

__all__ = ["command"]


@dataclass(frozen=True, kw_only=True)
class _Options:
    """What was asked for, beside the cases."""

    out: Path
    backend: str
    bundle: tuple[str, ...]
    quality: Quality
    precision: Choice
    unproven: bool
    max_memory: int | None
    max_ram: int | None
    window: tuple[int, int, int] | None
    overlap: float
    batch: int
    force: bool
    resample: Literal["auto", "never"]
    resume: bool
    ray: str | None
    ray_threads: int | None
    share: str | None
    plan_only: bool
    as_json: bool


@click.command(cls=WindowCommand, short_help="Segment cases.")
@cases_argument
@modality_options
@click.option("--out", type=FOLDER, default=Path("predictions"), show_default=True, help="Where the results go.")
@click.option(
    "--backend", type=click.Choice(["auto", *BACKENDS]), default="auto", show_default=True, help="What runs it."
)
@click.option(
    "--bundle",
    multiple=True,
    default=[DEFAULT_BUNDLE],
    show_default=True,
    help="A shipped bundle's name, a path to an .onnx file, or the folder of an engine; several are averaged.",
)
@quality_options
@click.option("--unproven", is_flag=True, help="Run an engine that was not proven equal to its bundle.")
@click.option(
    "--precision",
    type=arithmetic_of,
    metavar=f"[{'|'.join(ARITHMETIC)}]",
    default="auto",
    show_default=True,
    help="Arithmetic; auto: bf16 where the backend has it and this device gains from it. float16: see docs/backends. "
    "int8 is a bundle's own: see docs/export.",
)
@click.option("--max-memory", type=bytes_of, metavar="SIZE", help="Of the device that runs the network, such as 3.4GB.")
@click.option("--max-ram", type=bytes_of, metavar="SIZE", help="Of this process, such as 1GB.")
@click.option("--window", type=window_of, metavar="X Y Z", help="Cut the brain into windows; one number: cubes.")
@click.option(
    "--overlap",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.5,
    show_default=True,
    help="Least share that windows have in common.",
)
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Windows at once.")
@click.option("--force", is_flag=True, help="Segment a case of which something is suspected; its record says of what.")
@click.option(
    "--resample",
    type=click.Choice(["auto", "never"]),
    default="auto",
    show_default=True,
    help="Bring voxels of other sizes to 1 mm, and the labels back; never: refuse them.",
)
@click.option("--resume", is_flag=True, help="Keep results that are whole and were made of the same, do the others.")
@click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Over a Ray cluster: auto or HOST:PORT to join one; without, on this machine alone.",
)
@click.option("--ray-threads", type=click.IntRange(min=1), help="Of each worker of --ray.  [default: 4]")
@click.option("--shard", "share", metavar="N/ALL", help="Do only the N-th share of the cases, such as 2/8.")
@click.option("--plan-only", is_flag=True, help="Say what would be done with each case, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --plan-only: a line of JSON a case.")
def command(cases: tuple[Path, ...], **given: Any) -> None:
    """Segment CASES into OUT/CASE.nii.gz, with OUT/CASE.json beside each that says how it was made.

    CASES are case folders, folders of cases, or files; names of BraTS 2018 to 2024 are understood. Labels: 1 NCR
    (necrotic core), 2 ED (oedema), 3 ET (enhancing tumor). A bad case is named and passed by; the exit code is then 2.

    A brain that does not fit the memory in one pass is cut into overlapping windows. A case is refused where modalities
    look swapped, doubled or not registered, a skull is on it, or its header leaves left and right open.

    Not a medical device: every result is for a radiologist to judge.
    """
    given["quality"] = quality_of(given)
    options = _Options(**{field.name: given.pop(field.name) for field in fields(_Options)})
    found = chosen_cases(cases, given)
    results = RESULTS
    if options.share is not None:
        part, parts = share_of(options.share)
        found, results = shard(found, part, parts), f"results-{part}-of-{parts}.jsonl"
    if options.as_json and not options.plan_only:
        raise ConfigError("--json goes with --plan-only; a run writes OUT/CASE.json and OUT/results.jsonl")
    if options.ray_threads is not None and options.ray is None:
        raise ConfigError("--ray-threads goes with --ray")
    if options.ray is not None:
        _run_on_ray(found, options, results)
        return
    keep_heap_small()
    opened, facts = _opened(options)
    with closing(opened):
        key = pace_key(options.quality, facts, opened)
        segmenter = Segmenter(opened, _wish(options, opened), pace_of(key), _intake(options), options.quality)
        if options.plan_only:
            _print_plans(found, segmenter, as_json=options.as_json)
            return
        options.out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is known before the network runs
        click.echo(f"network {segmenter.backend.spec.name} by {opened.device}")
        run = CohortRun(out=options.out, facts=facts, results=results, is_resumed=options.resume)
        try:
            with closing(segment_cohort(segmenter, found, run, _print_plan)) as outcomes:  # after Ctrl-C, too
                say_outcomes(outcomes, len(found), run.out)
        finally:
            if segmenter.pace is not None:
                keep_pace_of(key, segmenter.pace)


def _run_on_ray(found: list[CaseFiles], options: _Options, results: str) -> None:
    """As `command`, over a cluster."""
    from ssa_fast.cli.infer_on_ray import RayWish, crew_of, ready_printer

    if options.plan_only:
        raise ConfigError("--plan-only needs no cluster: leave --ray away")
    wish = RayWish(address=options.ray or "", threads=options.ray_threads, worker_bytes=options.max_ram)
    options.out.mkdir(parents=True, exist_ok=True)
    run = CohortRun(out=options.out, facts={}, results=results, is_resumed=options.resume)
    open_network = functools.partial(_segmenter_within, _anywhere(options))
    with (
        crew_of(wish, open_network, run) as crew,
        closing(crew.segment(found, ready_printer(), _print_plan)) as outcomes,
    ):
        say_outcomes(outcomes, len(found), options.out, lambda: crew.peak_bytes)


def _anywhere(options: _Options) -> _Options:
    """The same options where the working folder is another."""
    places = (
        str(Path(one).absolute()) if one.endswith(".onnx") or is_engine(Path(one)) else one for one in options.bundle
    )
    return replace(options, bundle=tuple(places))


def _segmenter_within(options: _Options, share_bytes: int) -> tuple[Segmenter, Mapping[str, object]]:
    """In a worker: its segmenter, which may take so much of its machine's memory, and the facts for its records."""
    keep_heap_small()
    opened, facts = _opened(options)
    wish = _wish(options, opened, share_bytes)
    return Segmenter(opened, wish, intake=_intake(options), quality=options.quality), facts


def _opened(options: _Options) -> tuple[Backend, dict[str, object]]:
    """What runs the network, and what a record says of it and of what was asked for."""
    cache, unproven = cache_folder_if_any(), options.unproven
    opened = open_network(options.bundle, options.backend, options.precision, is_unproven_allowed=unproven, cache=cache)
    if opened.reason:
        click.echo(opened.reason, err=options.as_json)
    asked_for = {
        "backend": options.backend,
        "precision": options.precision,
        "window": options.window,
        "overlap": options.overlap,
        "batch": options.batch,
        "max_memory": options.max_memory,
        "max_ram": options.max_ram,
        "unproven": options.unproven,
        "resample": options.resample,
        **to_mapping(options.quality),
    }
    opened_as = str(opened.backend.device)  # `record_of` says what each case was computed by
    facts = {"asked_for": asked_for, "is_forced": options.force, "device_as_opened": opened_as}
    return opened.backend, {**facts, **opened.facts}


def _intake(options: _Options) -> Intake:
    return Intake(is_forced=options.force, resample=options.resample)


def _wish(options: _Options, backend: Backend, share_bytes: int | None = None) -> Wish:
    """What is asked of each plan: the process's memory bounds a network on the processor alone."""
    budgets = [options.max_memory, *([options.max_ram, share_bytes] if backend.footprint.is_host else [])]
    return Wish(
        budget_bytes=min((budget for budget in budgets if budget is not None), default=None),
        window=options.window,
        overlap=options.overlap,
        batch=options.batch,
    )


def _print_plans(found: list[CaseFiles], segmenter: Segmenter, *, as_json: bool) -> None:
    """The plan of each case alone; in the end CohortError if some have none."""
    failed, beside = [], 0
    for files in found:
        try:
            prepared = segmenter.prepare(read_case(files, is_any_spacing=segmenter.resamples))
            plan = segmenter.plan_prepared(prepared)
        except SsaFastError as error:
            failed.append(files.name)
            click.echo(f"{files.name}: {str(error).removeprefix(f'case {files.name}: ')}", err=True)
            continue
        beside = max(beside, prepared.reading_bytes)
        click.echo(json.dumps({"case": files.name, **to_mapping(plan)}) if as_json else f"{files.name}: {plan}")
    if len(found) > 1 and beside and not as_json:
        click.echo(f"each beside the next, which is read meanwhile where it fits: up to {beside / 1e9:.2f} GB more")
    if failed:
        raise CohortError(f"{len(failed)} of {len(found)} cases have no plan: {', '.join(failed)}")


def _print_plan(name: str, plan: Plan) -> None:
    click.echo(f"{name}: {plan}")
    sys.stdout.flush()
