"""Training settings: from TOML, checked, and with every shipped recipe loadable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssa_fast.config import from_mapping, load_toml, to_mapping
from ssa_fast.errors import ConfigError
from ssa_fast.train.config import AugmentConfig, TrainConfig


def test_a_configuration_survives_json() -> None:
    config = TrainConfig(preset="reference", patch=(64, 80, 96), augment=AugmentConfig(noise=0.5))
    assert from_mapping(TrainConfig, to_mapping(config)) == config


def test_a_toml_file_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text("steps = 10\npatch = [32, 48, 64]\n[augment]\nflip = 0\nnoise = 1\n")
    config = load_toml(TrainConfig, path)
    assert config == TrainConfig(steps=10, patch=(32, 48, 64), augment=AugmentConfig(flip=0.0, noise=1.0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": "large"}, "preset must be one of reference, lite"),
        ({"patch": (96, 96, 90)}, "multiples of 16"),
        ({"patch": (0, 96, 96)}, "multiples of 16"),
        ({"steps": 0}, "must be 1 or more"),
        ({"batch": 0}, "must be 1 or more"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": float("inf")}, "above 0"),
        ({"weight_decay": float("nan")}, "0 or more"),
        ({"seed": 2**64}, "below"),
        ({"ema_decay": 1.0}, "ema_decay must be in"),
        ({"tumor_share": 1.5}, "tumor_share in"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TrainConfig(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"noise": -0.1}, {"flip": 1.1}, {"scaling": 0.9}, {"scaling": float("nan")}, {"rotation_degrees": 200.0}],
)
def test_augmentation_out_of_range_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        AugmentConfig(**changes)


def test_the_norm_of_a_preset_can_be_exchanged() -> None:
    assert TrainConfig(preset="lite").network.norm == "instance"
    assert TrainConfig(preset="lite", norm="batch").network.norm == "batch"
    assert TrainConfig(preset="lite", norm="batch").network.channels == TrainConfig(preset="lite").network.channels
