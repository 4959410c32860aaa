"""The table of cards, held to its vendor's own figures and to itself."""

from __future__ import annotations

import pytest

from ssa_fast.hardware import CARDS, card_of, has_emulated_tensor_cores


@pytest.mark.parametrize(
    ("key", "float32", "float16", "bandwidth"),
    [
        ("gtx1650", 2.98, 5.97, 128),
        ("gtx1650-gddr6", 2.85, 5.70, 192),
        ("gtx1660", 5.03, 10.05, 192),
        ("t4", 8.1, 65, 320),
        ("rtx3060", 12.74, 25.5, 360),
        ("a100", 19.5, 312, 1555),
        ("a100-80gb", 19.5, 312, 2039),
        ("h100", 67, 989, 3350),
        ("h200", 67, 989, 4800),
    ],
)
def test_peaks_are_those_of_the_vendor(key: str, float32: float, float16: float, bandwidth: float) -> None:
    card = CARDS[key]
    assert card.float32 / 1e12 == pytest.approx(float32, rel=0.002)
    assert card.float16 / 1e12 == pytest.approx(float16, rel=0.002)
    assert card.bandwidth / 1e9 == bandwidth


@pytest.mark.parametrize("key", CARDS)
def test_a_row_agrees_with_itself_and_names_its_source(key: str) -> None:
    card = CARDS[key]
    assert card.source.count("NVIDIA") >= 1
    assert card.has_tensor_cores is not has_emulated_tensor_cores(card.name)
    assert card.float32 < card.float16 < (card.int8 or float("inf"))
    assert (card.int8 is None) is not card.has_tensor_cores
    a_clock = {"TU117": 64, "TU116": 64, "TU104": 64, "GA106": 128, "GA100": 64, "GH100": 128}[card.chip] * 2
    assert 1.3e9 < card.float32 / card.multiprocessors / a_clock < 2.0e9  # a boost clock of that age


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA GeForce GTX 1650", "gtx1650"),
        ("GeForce GTX 1650", "gtx1650"),
        ("NVIDIA GeForce GTX 1660", "gtx1660"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 3060", "rtx3060"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA A100-PCIE-40GB", "a100"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
    ],
)
def test_a_card_is_known_by_the_name_that_its_driver_gives(name: str, key: str) -> None:
    assert card_of(name) == CARDS[key]


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce GTX 1650 with Max-Q Design",
        "NVIDIA GeForce GTX 1650 Ti",
        "NVIDIA GeForce GTX 1660 Ti",
        "NVIDIA GeForce RTX 3060 Ti",
        "NVIDIA GeForce RTX 3060 Laptop GPU",
        "NVIDIA A100 80GB PCIe",
        "NVIDIA H100 PCIe",
        "NVIDIA H200 NVL",
        "NVIDIA T400 4GB",
    ],
)
def test_a_card_with_other_clocks_or_cores_is_not_taken_for_its_like(name: str) -> None:
    assert card_of(name) is None
