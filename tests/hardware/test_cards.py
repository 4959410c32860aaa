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
    assert card.checked.startswith(("verified: ", "not verified: "))
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


def test_what_was_read_in_nvidias_own_text_is_what_the_table_holds() -> None:
    for key, figures in (("a100", ("108", "19.5", "312", "624", "1555")), ("t4", ("320",)), ("a100-80gb", ("2039",))):
        card = CARDS[key]
        assert card.checked.startswith("verified: ")
        held = (card.multiprocessors, card.float32 / 1e12, card.float16 / 1e12, (card.int8 or 0) / 1e12)
        texts = {f"{value:g}" for value in (*held, card.bandwidth / 1e9)}
        for figure in figures:
            assert figure in card.checked
            assert figure in texts


def test_the_bandwidth_of_an_a100_follows_from_what_such_a_card_tells() -> None:
    # deviceQuery on an NVIDIA A100-SXM4-80GB: gist.github.com/gengwg/3520df2ebf8872e5ee4818367e3a4122
    assert pytest.approx(1593e6 * 2 * 5120 / 8, rel=1e-4) == CARDS["a100-80gb"].bandwidth


@pytest.mark.parametrize(
    ("key", "clock", "bits"),
    [("gtx1650", 8e9, 128), ("gtx1650-gddr6", 12e9, 128), ("gtx1660", 8e9, 192), ("t4", 2 * 5001e6, 256)],
)
def test_a_bandwidth_is_bits_a_second_times_the_width_of_the_bus(key: str, clock: float, bits: int) -> None:
    assert pytest.approx(clock * bits / 8, rel=1e-3) == CARDS[key].bandwidth


def test_the_rates_of_an_rtx_3060_are_those_of_the_quoted_rtx_3090() -> None:
    card, scale = CARDS["rtx3060"], 28 * 1777 / (82 * 1695)  # multiprocessors and clocks
    assert card.float32 / 1e12 == pytest.approx(35.6 * scale, rel=0.005)
    assert card.float16 / 1e12 == pytest.approx(71 * scale, rel=0.005)
    assert (card.int8 or 0) / 1e12 == pytest.approx(284 * scale, rel=0.005)
