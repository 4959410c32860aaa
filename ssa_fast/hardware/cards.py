"""What common GPUs can do at most, by their vendor's own papers: a table of peaks and bandwidths.

A figure is called verified only where a text of NVIDIA's with it was read, if only in a copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CARDS", "Card", "card_of"]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One model of GPU. Peaks are of dense arithmetic at the boost clock that the vendor names."""

    name: str
    pattern: str  # regular expression for the name that the driver gives
    chip: str
    capability: tuple[int, int]
    multiprocessors: int
    float32: float  # FLOP/s on CUDA cores; TF32 is not counted, ssa-fast turns it off
    float16: float  # FLOP/s: by tensor cores that add up in float32, where there are some; else by packed FMA (HFMA2)
    int8: float | None  # operations/s by tensor cores; None: the vendor names none for this card
    bandwidth: float  # bytes/s of its memory
    memory_gb: int  # as the vendor counts; a little less is usable
    has_tensor_cores: bool
    source: str  # the document that the figures are from
    checked: str  # what of them was seen in which text of NVIDIA's ("verified"), or by whom it is told ("not verified")


def _turing(name: str, pattern: str, chip: tuple[str, int], *, boost_hz: float, bandwidth: float, checked: str) -> Card:
    """A GTX 16xx: 64 CUDA cores a multiprocessor, two FLOP a clock each; FP16, packed by two, at twice that.

    `chip`: its name and multiprocessors.
    """
    multiprocessors = chip[1]
    float32 = multiprocessors * 64 * 2 * boost_hz
    return Card(
        name=name,
        pattern=pattern,
        chip=chip[0],
        capability=(7, 5),
        multiprocessors=multiprocessors,
        float32=float32,
        float16=2 * float32,
        int8=None,
        bandwidth=bandwidth,
        memory_gb=4 if chip[0] == "TU117" else 6,
        has_tensor_cores=False,
        source=f"computed from NVIDIA's product page ({multiprocessors * 64} cores, boost {boost_hz / 1e6:.0f} MHz, "
        "memory) and Turing's FP16 at twice FP32",
        checked=f"not verified: {checked}; FP16 at twice FP32 and 64 cores a multiprocessor stand in NVIDIA's 'Turing "
        "Architecture In-Depth' for its largest chip",
    )


def _with_tensor_cores(
    name: str,
    pattern: str,
    chip: tuple[str, tuple[int, int], int],
    peaks: tuple[float, float, float],
    memory: tuple[float, int],
    papers: tuple[str, str],
) -> Card:
    """`chip`: its name, capability, multiprocessors; `peaks`: float32, float16, int8; `memory`: bytes/s, GB.

    `papers`: source, checked.
    """
    return Card(
        name=name,
        pattern=pattern,
        chip=chip[0],
        capability=chip[1],
        multiprocessors=chip[2],
        float32=peaks[0],
        float16=peaks[1],
        int8=peaks[2],
        bandwidth=memory[0],
        memory_gb=memory[1],
        has_tensor_cores=True,
        source=papers[0],
        checked=papers[1],
    )


_T4 = (
    "NVIDIA's T4 page (FP32, FP16, INT8) and product brief (memory); the data sheet says 300 GB/s",
    (
        "verified: 320 GB/s (5001 MHz, 256 bits) in the product brief, as printed in PNY's manual of the TCST4MPB; not "
        "verified: 8.1, 65 and 130, which others quote from NVIDIA's page, and the data sheet's 300 GB/s, likewise"
    ),
)
_AMPERE_RTX = (
    (
        "computed from NVIDIA's product page (3584 cores, boost 1777 MHz, memory) and the GA102 white paper (a "
        "multiprocessor and clock: 128 FP32, 256 FP16 adding up in FP32, 1024 INT8, each a product and a sum)"
    ),
    (
        "not verified: others quote the white paper's RTX 3090 (82 multiprocessors, 1695 MHz: 35.6, 71, 284): "
        "the same rates; cores, boost and 360 GB/s are those of third parties' tables"
    ),
)
_A100 = (
    "NVIDIA A100 Tensor Core GPU data sheet (dense)",
    "verified: 108 multiprocessors, 19.5, 312, 624 and 1555 GB/s in NVIDIA's 'Ampere Architecture In-Depth'",
)
_A100_80GB = (
    "NVIDIA A100 Tensor Core GPU data sheet (dense)",
    (
        "verified: the peaks in NVIDIA's 'Ampere Architecture In-Depth', and 2039 GB/s as computed from what "
        "CUDA's deviceQuery tells of such a card (1593 MHz, 5120 bits, two a clock)"
    ),
)
_H100 = (
    "NVIDIA H100 Tensor Core GPU data sheet (half of its figures with sparsity)",
    (
        "not verified: others quote 989.4 (1978.9 with sparsity) from NVIDIA's H100 white paper, for bf16, and its "
        "3352 GB/s; 67 and INT8 are those of third parties' tables"
    ),
)
_H200 = (
    "NVIDIA H200 Tensor Core GPU data sheet (half of its figures with sparsity)",
    (
        "not verified: others quote 141 GB, 4.8 TB/s and 1979 (FP16, with sparsity) from NVIDIA's H200 page; the rest "
        "was not seen: peaks are the H100's, whose chip it has"
    ),
)

CARDS: Mapping[str, Card] = MappingProxyType(
    {
        "gtx1650": _turing(
            "NVIDIA GeForce GTX 1650 (GDDR5)",
            r"GTX 1650$",
            ("TU117", 14),
            boost_hz=1.665e9,
            bandwidth=128e9,
            checked="128 GB/s is what others quote from NVIDIA's page, 896 cores and 1665 MHz stand in guru3d's table",
        ),
        "gtx1650-gddr6": _turing(
            "NVIDIA GeForce GTX 1650 (GDDR6)",
            r"GTX 1650 \(?GDDR6\)?$",  # drivers call it as they call the one with GDDR5: it is chosen by hand
            ("TU117", 14),
            boost_hz=1.590e9,
            bandwidth=192e9,
            checked="896 cores, 1590 MHz and 192 GB/s are those of pcpartdb's table",
        ),
        "gtx1660": _turing(
            "NVIDIA GeForce GTX 1660",
            r"GTX 1660$",
            ("TU116", 22),
            boost_hz=1.785e9,
            bandwidth=192e9,
            checked="22 multiprocessors, 1785 MHz and 192 GB/s are those of TechPowerUp's review of a card of EVGA's",
        ),
        "t4": _with_tensor_cores(
            "NVIDIA T4", r"\bT4$", ("TU104", (7, 5), 40), (8.1e12, 65e12, 130e12), (320e9, 16), _T4
        ),
        "rtx3060": _with_tensor_cores(
            "NVIDIA GeForce RTX 3060 (12 GB)",
            r"RTX 3060$",
            ("GA106", (8, 6), 28),
            (28 * 128 * 2 * 1.777e9, 28 * 256 * 2 * 1.777e9, 28 * 1024 * 2 * 1.777e9),
            (360e9, 12),
            _AMPERE_RTX,
        ),
        "a100": _with_tensor_cores(
            "NVIDIA A100 (40 GB)",
            r"A100-(SXM4|PCIE)-40GB$",
            ("GA100", (8, 0), 108),
            (19.5e12, 312e12, 624e12),
            (1555e9, 40),
            _A100,
        ),
        "a100-80gb": _with_tensor_cores(
            "NVIDIA A100 SXM (80 GB)",
            r"A100-SXM4-80GB$",
            ("GA100", (8, 0), 108),
            (19.5e12, 312e12, 624e12),
            (2039e9, 80),
            _A100_80GB,
        ),
        "h100": _with_tensor_cores(
            "NVIDIA H100 SXM (80 GB)",
            r"H100 80GB HBM3$",
            ("GH100", (9, 0), 132),
            (67e12, 989e12, 1979e12),
            (3350e9, 80),
            _H100,
        ),
        "h200": _with_tensor_cores(
            "NVIDIA H200 SXM (141 GB)",
            r"H200$",
            ("GH100", (9, 0), 132),
            (67e12, 989e12, 1979e12),
            (4800e9, 141),
            _H200,
        ),
    }
)
"""Short name -> card."""


def card_of(gpu_name: str) -> Card | None:
    """The card that a driver calls `gpu_name`, or None where the table has none.

    A GTX 1650 with GDDR6 has the name of the one with GDDR5, whose memory is the slower; a laptop's has it too, and
    clocks of its maker's choice.
    """
    return next((card for card in CARDS.values() if re.search(card.pattern, gpu_name)), None)
