"""Machines as JSON records. `epyc` was written by `ssa-fast doctor --json`; the others were typed after the versions,
names and numbers that such machines have, for none of them was at hand."""

from __future__ import annotations

from pathlib import Path

from ssa_fast.doctor.machine import Machine, read_machine

FOLDER = Path(__file__).parent / "machines"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def recorded(name: str) -> Machine:
    return read_machine(FOLDER / f"{name}.json")
