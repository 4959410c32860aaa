"""MONAI's sliding window (overlap 0.5, Gaussian weights) with our weights, from four NIfTI files to one.

Reader, crop to the foreground, z-score (each modality over its non-zero voxels, as we do it), inverse transforms and
writer are MONAI's own too. `select_fn`: its default, `> 0`, would cut off brain on scanners that leave negative values.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from monai.transforms import (
    AsDiscrete,
    Compose,
    ConcatItemsd,
    CropForegroundd,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    SaveImage,
)

from benchmarks.peers.network import network_of
from ssa_fast.labels import MODALITIES
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.case import CaseFiles

__all__ = ["open_monai"]


def open_monai(bundle: Bundle, window: tuple[int, int, int]) -> Callable[[CaseFiles, Path], Path]:
    """What segments a case into a folder and gives the file."""
    network = network_of(bundle)
    before = Compose(
        [
            LoadImaged(MODALITIES, reader="NibabelReader"),
            EnsureChannelFirstd(MODALITIES),
            ConcatItemsd(MODALITIES, name="image"),
            Orientationd("image", axcodes="RAS"),
            CropForegroundd("image", source_key="image", select_fn=_is_not_zero),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        ]
    )
    back = Invertd("labels", transform=before, orig_keys="image")
    label_of = AsDiscrete(argmax=True)

    def segment(files: CaseFiles, out: Path) -> Path:
        save = SaveImage(out, output_dtype=np.uint8, resample=False, separate_folder=False, print_log=False)
        case = before({modality: files.one(modality) for modality in MODALITIES})
        with torch.inference_mode():
            logits = sliding_window_inference(case["image"][None], window, 1, network, overlap=0.5, mode="gaussian")
        case["labels"] = label_of(logits[0])
        save(back(case)["labels"], filename=out / files.name)
        return out / f"{files.name}.nii.gz"

    return segment


def _is_not_zero(image: torch.Tensor) -> torch.Tensor:
    return image != 0
