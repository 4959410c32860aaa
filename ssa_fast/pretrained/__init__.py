"""The bundles that come with ssa-fast. What they are and are not for stands in the model card beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ssa_fast.errors import BundleError

__all__ = ["DEFAULT_BUNDLE", "bundle_path", "shipped_bundle", "shipped_bundles"]

DEFAULT_BUNDLE: Final = "fast"
"""What every command runs that is told of no other."""

_FOLDER = Path(__file__).parent


def shipped_bundles() -> tuple[str, ...]:
    """Names of the bundles in this installation."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.onnx")))


def bundle_path(name: str) -> Path:
    """The file that a user means: a shipped bundle's name, or a path.

    Raises BundleError for a folder, a checkpoint, and what is neither a file nor shipped.
    """
    path = Path(name)
    if name not in shipped_bundles() and path.is_dir():
        raise BundleError(
            f"{name}: a folder, not a bundle: give an .onnx file or a shipped bundle's name ({_there()}); to run or to "
            "prove again, also an engine's folder, in which a manifest.json lies"
        )
    is_path = name.endswith(".onnx") or (path.is_file() and path.suffix != ".safetensors")
    return path if is_path and name not in shipped_bundles() else shipped_bundle(name)


def shipped_bundle(name: str) -> Path:
    """The file of a shipped bundle. Raises BundleError if there is none of that name."""
    path = _FOLDER / f"{name}.onnx"
    if name not in shipped_bundles():
        if name.endswith(".safetensors"):
            raise BundleError(f"{name}: a checkpoint, not a bundle: make one of it with 'ssa-fast export'")
        raise BundleError(
            f"no bundle '{name}' comes with ssa-fast (there are: {_there()}), and no file has that name: give one, or "
            "the path of an .onnx file"
        )
    return path


def _there() -> str:
    return ", ".join(shipped_bundles()) or "none"
