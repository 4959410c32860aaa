"""Modalities, label values and regions of BraTS: the one place where order and numbers are written."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "BACKGROUND",
    "ED",
    "ET",
    "LABELS",
    "LABEL_COLORS",
    "LABEL_NAMES",
    "LABEL_TITLES",
    "MAP_WORDS",
    "MODALITIES",
    "MODALITY_TITLES",
    "MODALITY_WORDS",
    "NCR",
    "REGIONS",
    "SEGMENTATION_WORDS",
]

MODALITIES = ("t1n", "t1c", "t2w", "t2f")
"""Channel order of every network: T1 native, T1 with contrast agent, T2, T2-FLAIR."""

MODALITY_TITLES: Mapping[str, str] = MappingProxyType(
    {"t1n": "T1", "t1c": "T1 with contrast", "t2w": "T2", "t2f": "T2-FLAIR"}
)
"""What a picture or a page calls them."""

BACKGROUND, NCR, ED, ET = 0, 1, 2, 3
"""Label values of BraTS 2023 and later. Up to 2021 enhancing tumour was 4."""

LABELS = (NCR, ED, ET)
LABEL_NAMES: Mapping[int, str] = MappingProxyType({NCR: "NCR", ED: "ED", ET: "ET"})
LABEL_TITLES: Mapping[int, str] = MappingProxyType({NCR: "necrotic core", ED: "oedema", ET: "enhancing tumour"})

LABEL_COLORS: Mapping[int, str] = MappingProxyType({NCR: "#D55E00", ED: "#56B4E9", ET: "#F0E442"})
"""Of every picture: Okabe and Ito's, as far apart in grey as their set allows (luminance 0.24, 0.42, 0.76)."""

REGIONS: Mapping[str, tuple[int, ...]] = MappingProxyType({"WT": (NCR, ED, ET), "TC": (NCR, ET), "ET": (ET,)})
"""Whole tumour, tumour core, enhancing tumour: unions of labels, as BraTS scores them."""

MODALITY_WORDS: Mapping[str, str] = MappingProxyType(
    {
        **{modality: modality for modality in MODALITIES},
        # BraTS 2018 to 2021
        "t1": "t1n",
        "t1ce": "t1c",
        "t1gd": "t1c",
        "t2": "t2w",
        "flair": "t2f",
    }
)
"""Last word of a file name (lower case) -> modality."""

SEGMENTATION_WORDS = ("seg",)
"""Last word of a file name that marks the reference segmentation."""

MAP_WORDS = ("probabilities", "entropy", "disagreement")
"""Last word of a file name that marks a map beside a predicted segmentation, which is no segmentation itself."""
