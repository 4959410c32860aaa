"""Floors of a network under a device's ceiling, worked out by hand and against the vendor's card."""

from __future__ import annotations

import pytest

from ssa_fast.errors import ShapeError
from ssa_fast.hardware import CARDS
from ssa_fast.model.roofline import Ceiling, LayerCost, Roofline, card_ceiling, network_roofline
from ssa_fast.model.spec import PRESETS, UNetConfig, gflop

CUBE = (128, 128, 128)
GTX_1650 = card_ceiling(CARDS["gtx1650"])


@pytest.mark.parametrize(
    ("preset", "precision", "milliseconds"),
    [("reference", "float32", 323), ("reference", "float16", 161), ("lite", "float32", 29)],
)
def test_the_arithmetic_floor_on_a_gtx_1650(preset: str, precision: str, milliseconds: int) -> None:
    roofline = network_roofline(PRESETS[preset], CUBE, GTX_1650)
    assert round(roofline.arithmetic_floor_ms(precision)) == milliseconds
    assert roofline.total_floor_ms(precision) >= roofline.arithmetic_floor_ms(precision)


def test_150_ms_are_beyond_the_reference_on_a_gtx_1650_and_a_fifth_of_the_peak_for_lite() -> None:
    reference = network_roofline(PRESETS["reference"], CUBE, GTX_1650)
    assert min(reference.share_of_peak(150, precision) for precision in ("float32", "float16")) > 1
    assert round(network_roofline(PRESETS["lite"], CUBE, GTX_1650).share_of_peak(150, "float32"), 2) == 0.19


@pytest.mark.parametrize("config", [*PRESETS.values(), UNetConfig(channels=(8, 16), stem="half")])
def test_layers_add_up_to_the_networks_arithmetic(config: UNetConfig) -> None:
    roofline = network_roofline(config, (32, 48, 64), GTX_1650)
    assert roofline.flop == pytest.approx(1e9 * gflop(config, (32, 48, 64)))


def test_a_layer_reads_its_input_and_writes_its_output_at_their_own_sizes() -> None:
    # 16 x 16 x 32 are 8192 voxels, 1024 of them at half the edge, 128 at a quarter
    config = UNetConfig(channels=(8, 16), norm="none", stem="half")
    moved = {layer.name: layer.values for layer in network_roofline(config, (16, 16, 32), GTX_1650).layers}
    assert moved["stem"] == 4 * 8192 + 8 * 1024 + (4 * 8 * 64 + 8)
    assert moved["encoder.1.conv1"] == 8 * 128 + 16 * 128 + (8 * 16 * 27 + 16)
    assert moved["up.0"] == 16 * 128 + 8 * 1024 + (16 * 8 * 8 + 8)
    assert moved["decoder.0.conv1"] == 16 * 1024 + 8 * 1024 + (16 * 8 * 27 + 8)
    assert moved["full.up"] == 8 * 1024 + 8 * 8192 + (8 * 8 * 8 + 8)
    assert moved["full.conv"] == 12 * 8192 + 8 * 8192 + (12 * 8 * 27 + 8)
    assert moved["head"] == 8 * 8192 + 4 * 8192 + (8 * 4 + 4)


def test_a_floor_is_the_longer_of_arithmetic_and_memory() -> None:
    ceiling = Ceiling(device="a slide rule", peaks={"float32": 100, "float16": 400}, bandwidth=10, source="made up")
    busy = LayerCost(name="busy", inputs=1, outputs=1, flop=1000, values=5)  # 10 s against 2 s
    wide = LayerCost(name="wide", inputs=1, outputs=1, flop=100, values=20)  # 1 s against 8 s; in halves 0.25 and 4
    roofline = Roofline(ceiling=ceiling, shape=(1, 1, 1), layers=(busy, wide))
    assert (roofline.floor_ms(busy, "float32"), roofline.floor_ms(wide, "float32")) == (10_000, 8_000)
    assert (roofline.floor_ms(busy, "float16"), roofline.floor_ms(wide, "float16")) == (2_500, 4_000)
    assert (roofline.total_floor_ms("float32"), roofline.arithmetic_floor_ms("float32")) == (18_000, 11_000)


def test_int8_is_there_where_the_card_has_it() -> None:
    assert list(GTX_1650.peaks) == ["float32", "float16"]
    assert card_ceiling(CARDS["t4"]).peaks["int8"] == 130e12


def test_an_edge_that_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(ShapeError, match="multiples of 16"):
        network_roofline(PRESETS["lite"], (128, 128, 120), GTX_1650)
