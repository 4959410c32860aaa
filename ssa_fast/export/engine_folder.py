"""An engine in its folder, and what it may take the place of."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from ssa_fast.backends.manifest import (
    MANIFEST,
    Manifest,
    engine_bytes,
    engine_name,
    is_engine,
    read_manifest,
    write_manifest,
)
from ssa_fast.errors import EngineError
from ssa_fast.files import write_whole
from ssa_fast.model.parity import Parity
from ssa_fast.volume.phantom import is_phantom_name

__all__ = ["Place", "Proven", "keep_engine", "proven_on"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an engine goes."""

    root: Path  # the folder of engines, in which it gets one of its own
    is_forced: bool = False  # also over one that is better proven


class Proven(IntEnum):
    """On what an engine was proven equal to its bundle; more is better."""

    NOTHING = 0
    PHANTOMS = 1
    REAL_BRAINS = 2


def proven_on(parity: Parity | None) -> Proven:
    """The best on which a parity was passed."""
    if parity is None or not parity.has_passed:
        return Proven.NOTHING
    return Proven.PHANTOMS if all(is_phantom_name(name) for name in parity.cases) else Proven.REAL_BRAINS


def keep_engine(place: Place, manifest: Manifest, files: Mapping[str, bytes], device: str, version: str) -> Path:
    """The folder in which an engine was put, with its manifest; a warning is logged of what they take the place of.

    `files` are the engine's, by name; `device` and `version` are those of the folder's name.

    Raises EngineError, and writes nothing, if the engine that is there runs here and was proven on better than this
    one: real brains before phantoms before nothing. If the place is forced that one goes too.
    """
    folder = place.root / engine_name(manifest, device, version)
    earlier = _there(folder, manifest) if is_engine(folder) else None
    if earlier is not None and proven_on(earlier.parity) > proven_on(manifest.parity) and not place.is_forced:
        raise EngineError(
            f"{folder}: the engine there was proven on {_proof(earlier.parity)}, this one on {_proof(manifest.parity)}:"
            " give real cases (--cases), another folder (--out), or --force"
        )
    if earlier is not None:
        _log.warning(
            "%s: takes the place of an engine that was proven on %s; this one on %s",
            folder,
            _proof(earlier.parity),
            _proof(manifest.parity),
        )
    (folder / MANIFEST).unlink(missing_ok=True)  # until the new one is whole, this is no engine
    for name, content in files.items():
        write_whole(folder / name, content)
    write_manifest(folder, manifest)
    return folder


def _there(folder: Path, manifest: Manifest) -> Manifest | None:
    """The manifest of the engine that lies in the folder; None, and a warning, for one that would not run here."""
    try:
        earlier = read_manifest(folder)
        earlier.check_bundle(manifest.bundle_sha256, folder)
        earlier.check_machine(manifest.needs, folder)
        for gives in earlier.gives:
            engine_bytes(folder, earlier, gives)
    except EngineError as error:
        _log.warning("takes the place of an engine that would be refused: %s", str(error).partition(": build ")[0])
        return None
    return earlier


def _proof(parity: Parity | None) -> str:
    level = proven_on(parity)
    if parity is None or level is Proven.NOTHING:
        return "nothing"
    count = len(parity.cases)
    kind = "phantom" if level is Proven.PHANTOMS else "case"
    return f"{count} {kind}{'s' if count > 1 else ''}"
