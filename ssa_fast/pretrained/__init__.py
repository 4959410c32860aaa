"""The bundles that come with ssa-fast. What they are and are not for stands in the model card beside them."""

from __future__ import annotations

from pathlib import Path

from ssa_fast.errors import BundleError

__all__ = ["bundle_path", "shipped_bundle", "shipped_bundles"]

_FOLDER = Path(__file__).parent


def shipped_bundles() -> tuple[str, ...]:
    """Names of the bundles in this installation."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.onnx")))


def bundle_path(name: str) -> Path:
    """The file that a user means: a path that ends in .onnx, or a shipped bundle's name. Raises BundleError."""
    return Path(name) if name.endswith(".onnx") else shipped_bundle(name)


def shipped_bundle(name: str) -> Path:
    """The file of a shipped bundle. Raises BundleError if there is none of that name."""
    path = _FOLDER / f"{name}.onnx"
    if name not in shipped_bundles():
        if name.endswith(".safetensors"):
            raise BundleError(f"{name}: a checkpoint, not a bundle: make one of it with 'ssa-fast export'")
        there = ", ".join(shipped_bundles()) or "none"
        raise BundleError(
            f"no bundle '{name}' comes with ssa-fast (there are: {there}): give one, or a path to an .onnx file"
        )
    return path
