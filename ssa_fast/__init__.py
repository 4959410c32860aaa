"""Brain tumor segmentation of BraTS-SSA MRI, in seconds, on the machines that hospitals really have.

    from pathlib import Path
    import ssa_fast

    bundle = ssa_fast.read_bundle(ssa_fast.shipped_bundle("lite"))
    segmenter = ssa_fast.Segmenter(ssa_fast.open_backend("ort", bundle))
    for files in ssa_fast.find_cases([Path("cases")]):
        print(segmenter.segment(ssa_fast.read_case(files)).volumes_ml)

Names below are imported when first used, so that `import ssa_fast` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssa_fast.backends import open_backend
    from ssa_fast.errors import SsaFastError
    from ssa_fast.infer.segmenter import Segmentation, Segmenter
    from ssa_fast.model.bundle import read_bundle
    from ssa_fast.pretrained import shipped_bundle
    from ssa_fast.volume.case import find_cases, read_case
    from ssa_fast.volume.nifti import write_labels

__version__ = "0.1.0"

__all__ = [
    "Segmentation",
    "Segmenter",
    "SsaFastError",
    "__version__",
    "find_cases",
    "open_backend",
    "read_bundle",
    "read_case",
    "shipped_bundle",
    "write_labels",
]

_HOMES = {
    "Segmentation": "ssa_fast.infer.segmenter",
    "Segmenter": "ssa_fast.infer.segmenter",
    "SsaFastError": "ssa_fast.errors",
    "find_cases": "ssa_fast.volume.case",
    "open_backend": "ssa_fast.backends",
    "read_bundle": "ssa_fast.model.bundle",
    "read_case": "ssa_fast.volume.case",
    "shipped_bundle": "ssa_fast.pretrained",
    "write_labels": "ssa_fast.volume.nifti",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ssa_fast' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
