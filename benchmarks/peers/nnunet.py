"""nnU-Net's predictor (v2.8) with our weights, from four NIfTI files to one.

Its own reader, crop to nonzero, z-score, sliding window (step 0.5, Gaussian, no mirroring), export and writer, one
after the other in one process (`predict_from_files_sequential`): its worker processes pay with many cases, and cost
seconds with one. What it does by default on a CPU, by its source: float32 and no autocast ("only be active if we have a
cuda device"), logits added up in float16: in the corners of a window that no other covers its weight is the least
that float16 has, and logits become whole numbers there.

Two things differ from its defaults, so that the network sees what it was trained on: volumes are read in RAS axes and
X Y Z order, and each modality's mean and deviation are those of its own non-zero voxels, not of the voxels where any
modality is non-zero, with holes filled.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ZScoreNormalization
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from benchmarks.peers.network import network_of
from ssa_fast.labels import LABEL_NAMES, MODALITIES
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.case import CaseFiles

__all__ = ["open_nnunet"]

_ENDING = ".nii.gz"
_RESAMPLING = {"order_z": 0, "force_separate_z": None}  # nnU-Net's own; nothing is resampled, voxels are of 1 mm


class _OwnVoxels(DefaultPreprocessor):
    """Its z-score, each modality over its own non-zero voxels."""

    def _normalize(self, data: Any, seg: Any, configuration_manager: Any, intensities: Any) -> Any:
        scheme = ZScoreNormalization(use_mask_for_norm=True, intensityproperties={})
        for place in range(len(data)):
            data[place] = scheme.run(data[place], np.where(data[place] != 0, np.int8(0), np.int8(-1)))
        return data


class _Configuration(ConfigurationManager):
    @property
    def preprocessor_class(self) -> type[DefaultPreprocessor]:
        return _OwnVoxels


def open_nnunet(bundle: Bundle, window: tuple[int, int, int]) -> Callable[[CaseFiles, Path], Path]:
    """What segments a case into a folder and gives the file."""
    plans = _plans(window)
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    network = network_of(bundle)
    labels = {"background": 0, **{name: label for label, name in LABEL_NAMES.items()}}
    predictor.manual_initialization(
        network,
        PlansManager(plans),
        _Configuration(plans["configurations"]["3d_fullres"]),
        [network.state_dict()],
        {"channel_names": dict(enumerate(MODALITIES)), "labels": labels, "file_ending": _ENDING},
        "nnUNetTrainer",
        None,
    )

    def segment(files: CaseFiles, out: Path) -> Path:
        images = [str(files.one(modality)) for modality in MODALITIES]
        predictor.predict_from_files_sequential([images], [str(out / files.name)])
        return out / f"{files.name}{_ENDING}"

    return segment


def _plans(window: tuple[int, int, int]) -> dict[str, Any]:
    """A plans file as nnU-Net's planner writes it, of which prediction reads these entries."""
    count = len(MODALITIES)
    configuration = {
        "data_identifier": "ssa_fast",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(window),
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"] * count,
        "use_mask_for_norm": [True] * count,
        "architecture": {},  # the network is given
    }
    for what, is_seg, order in (("data", False, 3), ("seg", True, 1), ("probabilities", False, 1)):
        configuration[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        configuration[f"resampling_fn_{what}_kwargs"] = {"is_seg": is_seg, "order": order, **_RESAMPLING}
    return {
        "dataset_name": "Dataset001_BraTS_SSA",
        "plans_name": "ssa_fast",
        "image_reader_writer": "NibabelIOWithReorient",  # RAS, and then Z Y X
        "transpose_forward": [2, 1, 0],
        "transpose_backward": [2, 1, 0],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(count)},
        "configurations": {"3d_fullres": configuration},
    }
