"""Brain tumor segmentation of BraTS-SSA MRI, in seconds, on the machines that hospitals really have.

    import ssa_fast

    segmentation = ssa_fast.segment("cases/BraTS-SSA-00002-000")
    print(segmentation.volumes_ml)
    segmentation.save("BraTS-SSA-00002-000.nii.gz")

Names below are imported when first used, so that `import ssa_fast` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssa_fast.backends import open_backend
    from ssa_fast.errors import SsaFastError
    from ssa_fast.infer.intake import Intake
    from ssa_fast.infer.opening import open_segmenter, segment
    from ssa_fast.infer.plan import Plan, Wish
    from ssa_fast.infer.quality import Quality
    from ssa_fast.infer.segmentation import Segmentation
    from ssa_fast.infer.segmenter import Segmenter
    from ssa_fast.model.bundle import read_bundle
    from ssa_fast.pretrained import shipped_bundle
    from ssa_fast.volume.case import find_cases, read_case
    from ssa_fast.volume.nifti import write_labels

__version__ = "0.1.0"

__all__ = [
    "Intake",
    "Plan",
    "Quality",
    "Segmentation",
    "Segmenter",
    "SsaFastError",
    "Wish",
    "__version__",
    "find_cases",
    "keep_heap_small",
    "open_backend",
    "open_segmenter",
    "read_bundle",
    "read_case",
    "segment",
    "shipped_bundle",
    "write_labels",
]

_HOMES = {
    "Intake": "ssa_fast.infer.intake",
    "Plan": "ssa_fast.infer.plan",
    "Quality": "ssa_fast.infer.quality",
    "Segmentation": "ssa_fast.infer.segmentation",
    "Segmenter": "ssa_fast.infer.segmenter",
    "SsaFastError": "ssa_fast.errors",
    "Wish": "ssa_fast.infer.plan",
    "find_cases": "ssa_fast.volume.case",
    "keep_heap_small": "ssa_fast.hardware",
    "open_backend": "ssa_fast.backends",
    "open_segmenter": "ssa_fast.infer.opening",
    "read_bundle": "ssa_fast.model.bundle",
    "read_case": "ssa_fast.volume.case",
    "segment": "ssa_fast.infer.opening",
    "shipped_bundle": "ssa_fast.pretrained",
    "write_labels": "ssa_fast.volume.nifti",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ssa_fast' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
