"""The numbers that documents state are those that the code computes and the records hold."""

from __future__ import annotations

import json
from pathlib import Path

from ssa_fast.hardware.cards import card_of
from ssa_fast.model.roofline import card_ceiling, network_roofline
from ssa_fast.model.spec import PRESETS, gflop, parameter_count, receptive_field

_ROOT = Path(__file__).parent.parent
_ORIGINAL = (_ROOT / "docs/original.md").read_text()
_RECORDS = _ROOT / "benchmarks/results/0.1.0"


def test_the_original_networks_size_and_sight_are_the_computed_ones() -> None:
    reference, lite = PRESETS["reference"], PRESETS["lite"]
    assert f"**{parameter_count(reference):,}**" in _ORIGINAL
    assert f"**{receptive_field(reference)}** voxels an axis at most ({receptive_field(lite)} for `lite`)" in _ORIGINAL
    assert f"{gflop(reference, (128, 128, 128)):.1f} GFLOP" in _ORIGINAL
    assert f"with {gflop(lite, (128, 128, 128)):.1f} GFLOP" in _ORIGINAL


def test_the_cards_floors_are_the_rooflines() -> None:
    card = card_of("NVIDIA GeForce GTX 1650")
    assert card is not None
    ceiling, patch = card_ceiling(card), (128, 128, 128)
    reference = network_roofline(PRESETS["reference"], patch, ceiling)
    lite = network_roofline(PRESETS["lite"], patch, ceiling)
    for precision, name in (("float32", "FP32"), ("float16", "FP16")):
        assert f"**{reference.arithmetic_floor_ms(precision):.0f} ms** at its full {name} rate" in _ORIGINAL
    assert f"a floor of {lite.arithmetic_floor_ms('float32'):.1f} ms in FP32" in _ORIGINAL
    assert f"{lite.share_of_peak(150, 'float32'):.0%}".replace("%", " %") + " of the card's peak" in _ORIGINAL


def test_the_original_recipes_scores_are_the_recorded_ones() -> None:
    record = json.loads((_RECORDS / "epyc-2-threads-original.json").read_text())
    means = record["mean_dice_with_background"]
    assert f"**{means['last_epoch']:.3f}** in the last epoch ({means['best_epoch']:.3f} in the best" in _ORIGINAL
    whole = record["last_checkpoint_on_ten_whole_cases_of_other_scanners"]["mean_dice"]
    assert f"WT {whole['WT']:.3f}, TC {whole['TC']:.3f}, ET {whole['ET']:.3f}" in _ORIGINAL
    assert f"**{record['hours']:.2f} h**" in _ORIGINAL


def test_the_originals_means_are_right() -> None:
    scores = (0.98, 0.72, 0.91, 0.86)
    assert f"**{sum(scores) / 4:.4f}**" in _ORIGINAL
    assert f"**{sum(scores[1:]) / 3:.2f}**" in _ORIGINAL
