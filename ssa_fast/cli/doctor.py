"""`ssa-fast doctor`: what this machine has, what will be used and why, and what is known to go wrong on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

import ssa_fast
from ssa_fast.cli.options import PATH
from ssa_fast.doctor.machine import gather_machine, read_machine
from ssa_fast.doctor.report import check_lines, diagnosis_lines, diagnosis_to_json, self_test_head
from ssa_fast.doctor.self_test import Check, brain_trial, reference_backend, self_test, small_trial
from ssa_fast.errors import ConfigError, ParityError
from ssa_fast.model.bundle import read_bundle
from ssa_fast.pretrained import shipped_bundle

__all__ = ["command"]

_BUNDLE = "lite"  # that is tested


@click.command(short_help="What this machine has, will use, and gets wrong.")
@click.option(
    "--self-test", "is_tested", is_flag=True, help="Also run every backend and compare labels and seconds: minutes."
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text: send that to who helps you.")
@click.option("--machine", "path", type=PATH, metavar="FILE", help="Diagnose the machine in FILE, written by --json.")
def command(is_tested: bool, is_json: bool, path: Path | None) -> None:
    """Say what is here, which backend will be chosen and why, and each known trap with its fix.

    What is written holds no name of a person, computer or folder. The exit code is 2 if the self-test fails.
    """
    if is_tested and path is not None:
        raise ConfigError("--self-test runs on this machine: it does not go with --machine")
    machine = gather_machine() if path is None else read_machine(path)
    if not is_json:
        for line in diagnosis_lines(machine):
            click.echo(line)
    checks = _tested(is_json) if is_tested else []
    if is_json:
        click.echo(json.dumps(diagnosis_to_json(machine, ssa_fast.__version__, checks), indent=2))
    failed = [
        f"{check.backend} in {check.precision} ({check.trial or 'opening'})" for check in checks if check.is_failed
    ]
    if failed:
        raise ParityError(f"the self-test failed for {', '.join(failed)}: do not use that here, take another --backend")


def _tested(is_json: bool) -> list[Check]:
    bundle = read_bundle(shipped_bundle(_BUNDLE))
    head = self_test_head(reference_backend())
    if not is_json:
        click.echo("\n" + "\n".join(head))
    checks = []
    for check in self_test(bundle, [small_trial(len(bundle.spec.modalities)), brain_trial()]):
        checks.append(check)
        if not is_json:
            for line in check_lines(check):
                click.echo(line)
            sys.stdout.flush()
    return checks
