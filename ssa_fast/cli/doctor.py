"""`ssa-fast doctor`: what this machine has, what will be used and why, and what is known to go wrong on it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import click

import ssa_fast
from ssa_fast.backends.manifest import is_engine, read_manifest
from ssa_fast.cli.options import PATH
from ssa_fast.doctor.ceiling import measured_ceiling
from ssa_fast.doctor.machine import gather_machine, read_machine, verdict
from ssa_fast.doctor.report import check_lines, diagnosis_lines, diagnosis_to_json, self_test_head
from ssa_fast.doctor.self_test import (
    BRAIN,
    SMALL,
    Run,
    SelfTest,
    brain_trial,
    bundle_runs,
    engine_run,
    reference_backend,
    self_test,
    small_trial,
)
from ssa_fast.errors import ConfigError, ParityError
from ssa_fast.export.parity import Proof
from ssa_fast.export.reference import reference_of_bundle, reference_of_engine
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.pretrained import DEFAULT_BUNDLE, bundle_path

__all__ = ["command"]


@click.command(short_help="What this machine has, will use, and gets wrong.")
@click.option(
    "--self-test", "is_tested", is_flag=True, help="Also run every backend and compare labels and speed: minutes."
)
@click.option(
    "--bundle",
    help=f"Tested: a shipped bundle's name, an .onnx file, or an engine's folder.  [default: {DEFAULT_BUNDLE}]",
)
@click.option(
    "--reference", metavar="NAME", help="The float32 bundle that it is held to; else the shipped one it is of."
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text: send that to who helps you.")
@click.option("--machine", "path", type=PATH, metavar="FILE", help="Diagnose the machine in FILE, written by --json.")
def command(is_tested: bool, bundle: str | None, reference: str | None, is_json: bool, path: Path | None) -> None:
    """Say what is here, which backend will be chosen and why, and each known trap with its fix.

    What is written holds no name of a person, computer or folder. The exit code is 2 if the self-test fails.
    """
    if is_tested and path is not None:
        raise ConfigError("--self-test runs on this machine: it does not go with --machine")
    if not is_tested and (bundle is not None or reference is not None):
        raise ConfigError("--bundle and --reference say what is tested: give --self-test, too")
    machine = gather_machine() if path is None else read_machine(path)
    if not is_json:
        for line in diagnosis_lines(machine):
            click.echo(line)
    tested = None
    if is_tested:
        said = verdict(machine)
        subject = _subject(bundle or DEFAULT_BUNDLE, reference, (said.backend, said.precision or ""))
        tested = _tested(subject, is_json)
    if is_json:
        click.echo(json.dumps(diagnosis_to_json(machine, ssa_fast.__version__, tested), indent=2))
    failed = [
        f"{check.backend} in {check.precision} ({check.trial or 'opening'})"
        for check in (tested.checks if tested else ())
        if check.is_failed
    ]
    if failed:
        raise ParityError(f"the self-test failed for {', '.join(failed)}: do not use that here, take another --backend")


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is tested, and on what."""

    name: str  # holds no folder: the record may be sent to others
    runs: list[Run]
    reference: Bundle
    trials: list[Proof]


def _subject(bundle: str, reference: str | None, default: tuple[str, str]) -> _Subject:
    """A bundle in every backend, or an engine in its own."""
    path = Path(bundle).absolute()  # folders are taken out of absolute paths alone
    if is_engine(path):
        manifest = read_manifest(path)
        channels, shapes = len(manifest.spec.modalities), manifest.shapes or (SMALL, BRAIN)
        return _Subject(
            name=f"engine {path.name}",
            runs=[engine_run(path, manifest)],
            reference=reference_of_engine(manifest, path, reference),
            trials=[small_trial(channels, shapes[0]), brain_trial(shapes[-1])],
        )
    loaded = read_bundle(bundle_path(str(path) if bundle.endswith(".onnx") else bundle))
    return _Subject(
        name=f"bundle {loaded.path.stem} ({loaded.arithmetic})",
        runs=bundle_runs(loaded, default),
        reference=reference_of_bundle(loaded, reference),
        trials=[small_trial(len(loaded.spec.modalities)), brain_trial()],
    )


def _tested(subject: _Subject, is_json: bool) -> SelfTest:
    reference, ceiling = reference_backend(), measured_ceiling()
    if not is_json:
        click.echo("\n" + "\n".join(self_test_head(subject.name, reference, ceiling)))
    checks = []
    for check in self_test(subject.runs, subject.reference, subject.trials, ceiling):
        checks.append(check)
        if not is_json:
            for line in check_lines(check):
                click.echo(line)
            sys.stdout.flush()
    return SelfTest(subject=subject.name, reference=reference, ceiling=ceiling, checks=checks)
