"""What an engine says of itself: what it was built from, for which machine, and how it was proven."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ssa_fast.backends.base import Gives
from ssa_fast.config import from_mapping, to_mapping
from ssa_fast.errors import ConfigError, EngineError
from ssa_fast.files import sha256, write_json
from ssa_fast.model.parity import Parity
from ssa_fast.model.spec import ModelSpec

__all__ = [
    "MANIFEST",
    "Candidate",
    "Manifest",
    "engine_bytes",
    "engine_name",
    "is_engine",
    "read_manifest",
    "write_manifest",
]

MANIFEST = "manifest.json"
"""The file that makes a folder an engine."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way of building that was tried, and what came of it."""

    name: str  # such as "float16, strongly typed"
    build_seconds: float | None = None
    planned_bytes: int | None = None  # of device memory for activations
    milliseconds: float | None = None  # median of a window; None: not timed
    label_agreement: float | None = None
    verdict: str = ""  # why it was kept or dropped


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One engine: a file that a library has built from a bundle for one machine."""

    backend: str  # which opens it
    file: str  # the engine, in the manifest's folder
    engine_sha256: str
    gives: tuple[Gives, ...] = ("logits",)  # those of earlier versions give no labels
    labels_file: str = ""  # where the labels come from a file of their own
    labels_sha256: str = ""
    bundle_sha256: str
    onnx_sha256: str  # of the graph that the library was given: the bundle's own, or one made from it
    spec: ModelSpec
    precision: str
    profile: str
    needs: Mapping[str, str]  # what must be equal where it runs: device, library, ...
    built_with: Mapping[str, str] = field(default_factory=dict)  # what else was there: driver, CUDA, ...
    shapes: tuple[tuple[int, int, int], ...] = ()  # that it takes, X Y Z: one, or the smallest and the largest; (): any
    build_seconds: float
    planned_bytes: int | None = None  # of device memory for activations
    candidates: tuple[Candidate, ...] = ()
    parity: Parity | None = None  # None: nothing was at hand to run it
    command: str  # that builds it again

    def check_bundle(self, bundle_sha256: str, folder: Path) -> None:
        """Raises EngineError if the engine was built from another bundle."""
        if bundle_sha256 != self.bundle_sha256:
            raise EngineError(
                f"{folder}: was built from a bundle {self.bundle_sha256[:12]}..., yours is {bundle_sha256[:12]}...: "
                f"build it again: {self.command}"
            )

    def check_machine(self, here: Mapping[str, str], folder: Path) -> None:
        """Raises EngineError, naming the first difference, unless `here` has all that the engine needs."""
        for what, wanted in self.needs.items():
            seen = here.get(what, "unknown")
            if seen != wanted:
                raise EngineError(
                    f"{folder}: was built for {what} {wanted}, here it is {seen}: build it again: {self.command}"
                )

    def check_parity(self, folder: Path, *, is_unproven_allowed: bool = False) -> None:
        """Raises EngineError if the engine was not proven equal to its bundle, or failed, unless that is allowed."""
        if is_unproven_allowed or (self.parity is not None and self.parity.has_passed):
            return
        why = "was never proven equal to its bundle" if self.parity is None else "; ".join(self.parity.shortcomings)
        raise EngineError(f"{folder}: {why}: run 'ssa-fast parity {folder} CASES', or take it as it is: --unproven")


def engine_name(manifest: Manifest, device: str, version: str) -> str:
    """The name of an engine's folder: lite-35b8c96a--gtx1650--float16--geforce-gtx-1650--tensorrt-10.16.1.11.

    The number is the begin of the bundle's fingerprint: a rewritten bundle, or one trained anew, has the same name.
    """
    bundle = f"{manifest.spec.name}-{manifest.bundle_sha256[:8]}"
    profile = Path(manifest.profile).name.removesuffix(".toml")
    words = (bundle, profile, manifest.precision, device.removeprefix("NVIDIA "), version)
    return "--".join(re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-") for word in words)


def is_engine(path: Path) -> bool:
    """Whether a path is the folder of an engine."""
    return (path / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an engine's folder.

    Raises EngineError if there is none, or none that this version reads.
    """
    path = folder / MANIFEST
    try:
        return from_mapping(Manifest, json.loads(path.read_text(encoding="utf-8")), where=str(path))
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror}): no engine lies there") from error
    except (ValueError, ConfigError) as error:
        raise EngineError(f"{path}: no manifest that this version of ssa-fast reads ({error}): build again") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, last of all: it is what makes the folder an engine. Raises OSError."""
    write_json(folder / MANIFEST, to_mapping(manifest))


def engine_bytes(folder: Path, manifest: Manifest, gives: Gives = "logits") -> bytes:
    """The engine itself, that of the labels where they have one. Raises EngineError if it is missing or exchanged."""
    is_apart = gives == "labels" and manifest.labels_file != ""
    path = folder / (manifest.labels_file if is_apart else manifest.file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror}): build it again: {manifest.command}") from error
    if sha256(content) != (manifest.labels_sha256 if is_apart else manifest.engine_sha256):
        raise EngineError(f"{path}: is damaged or was exchanged: build it again: {manifest.command}")
    return content
