"""The float32 bundle that another form of its network is held against."""

from __future__ import annotations

from pathlib import Path

from ssa_fast.backends.manifest import Manifest
from ssa_fast.errors import ConfigError
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.pretrained import bundle_path, shipped_bundle, shipped_bundles

__all__ = ["reference_of_bundle", "reference_of_engine"]


def reference_of_bundle(bundle: Bundle, given: str | None = None) -> Bundle:
    """`given`, a path or a shipped bundle's name; else the bundle itself in float32, or its shipped float32 parent.

    Raises ConfigError if none is shipped, or `given` comes from another checkpoint.
    """
    if given is not None:
        reference = read_bundle(bundle_path(given))
        if reference.spec.parent != bundle.spec.parent:
            raise ConfigError(
                f"{reference.path} and {bundle.path} come from different checkpoints: give another float32 bundle"
            )
        return reference
    if bundle.arithmetic == "float32":
        return bundle
    for shipped in map(read_bundle, map(shipped_bundle, shipped_bundles())):
        if shipped.arithmetic == "float32" and shipped.spec.parent == bundle.spec.parent:
            return shipped
    raise ConfigError(f"{bundle.path}: no shipped bundle is its float32 parent: give that FILE.onnx too (see --help)")


def reference_of_engine(manifest: Manifest, folder: Path, given: str | None = None) -> Bundle:
    """`given`, a path or a shipped bundle's name; else the shipped bundle that an engine was built from.

    Raises ConfigError if it was built from none, EngineError if `given` is another bundle than it was built from.
    """
    if given is not None:
        reference = read_bundle(bundle_path(given))
        manifest.check_bundle(reference.sha256, folder)
        return reference
    for shipped in map(read_bundle, map(shipped_bundle, shipped_bundles())):
        if shipped.sha256 == manifest.bundle_sha256:
            return shipped
    raise ConfigError(f"{folder}: was built from no shipped bundle: give its FILE.onnx too (see --help)")
