"""Training settings: from TOML, checked, and with every shipped recipe loadable."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from ssa_fast.config import from_mapping, load_toml, to_mapping
from ssa_fast.errors import ConfigError
from ssa_fast.model.cost import gflop, parameter_count, receptive_field
from ssa_fast.model.network import PRESETS, UNetConfig
from ssa_fast.train import config as config_module
from ssa_fast.train.config import RECIPES, AugmentConfig, LossConfig, PlateauConfig, TrainConfig, load_recipe
from tests.networks import MEMBERS


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
        ({"preset": "large"}, r"or have an \[architecture\] table, got 'large'"),
        ({"architecture": MEMBERS["deep"]}, "preset 'fast' has an architecture: give the network another name"),
        ({"preset": "../mine", "architecture": MEMBERS["deep"]}, "'../mine' names files: take letters"),
        ({"preset": "", "architecture": MEMBERS["deep"]}, "names files"),
        ({"preset": "mine", "architecture": MEMBERS["deep"]}, "norm is 'instance', that of the architecture 'batch'"),
        (
            {"preset": "mine", "norm": "preset", "architecture": UNetConfig(norm="none")},
            "without norm is not trained: batch, ghost-batch, instance, batch-instance or group",
        ),
        (
            {"preset": "mine", "norm": "preset", "architecture": UNetConfig(modalities=1)},
            "must have 4 modalities and 4 classes",
        ),
        ({"patch": (96, 96, 90)}, "multiples of 16"),
        ({"patch": (0, 96, 96)}, "multiples of 16"),
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"batch": 0}, "batch must be 1 or more"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": float("inf")}, "above 0"),
        ({"weight_decay": float("nan")}, "0 or more"),
        ({"seed": 2**64}, "below"),
        ({"ema_decay": 1.0}, "ema_decay must be in"),
        ({"tumor_share": 1.5}, "tumor_share in"),
        ({"accumulate": 0}, "accumulate must be 1 or more"),
        ({"recomputed_levels": 5}, "recomputed_levels must be 0 to 4, got 5"),
        ({"held_out_patches": 0}, "held_out_patches must be 1 or more"),
        ({"phantoms": -1}, "phantoms must be 0 to 1000"),
        ({"phantom_share": 1.1}, "phantom_share in"),
        ({"supervised_levels": 4}, "supervised_levels must be 0 to 3 for 'fast', got 4"),
        ({"reestimate": True, "preset": "lite"}, "reestimate is for batch norm, 'lite' has none"),
        ({"full_norm": "none", "preset": "reference"}, "full_norm must be 'same'"),
        ({"schedule": "plateau"}, "no warm-up: set warmup_steps to 0, got 100"),
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


def test_a_recipe_can_tell_a_network_that_is_no_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "preset = 'mine'\nnorm = 'preset'\nsupervised_levels = 2\n"
        "[architecture]\nchannels = [4, 6, 8]\nnorm = 'batch'\nstem = 'half'\n"
        "convolutions = [1, 3, 2]\ndecoder_convolutions = [1, 2]\n"
    )
    config = load_toml(TrainConfig, path)
    assert config.network == MEMBERS["deep"]
    assert from_mapping(TrainConfig, to_mapping(config)) == config
    path.write_text("preset = 'mine'\n[architecture]\nchannel = [4, 6, 8]\n")
    with pytest.raises(ConfigError, match="unknown key 'channel'; did you mean 'channels'"):
        load_toml(TrainConfig, path)


def test_the_norm_of_a_preset_can_be_exchanged() -> None:
    assert TrainConfig(preset="lite").network.norm == TrainConfig(preset="reference").network.norm == "instance"
    assert TrainConfig(preset="reference", norm="preset").network.norm == "batch"
    assert TrainConfig(preset="lite", norm="batch").network.norm == "batch"
    assert TrainConfig(preset="lite", norm="batch").network.channels == TrainConfig(preset="lite").network.channels


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (LossConfig, {"dice": 0.0, "cross_entropy": 0.0}, "above 0"),
        (LossConfig, {"dice": -1.0}, "0 or more"),
        (LossConfig, {"class_weights": (1.0, 2.0)}, "must be 4 numbers above 0: background NCR ED ET"),
        (LossConfig, {"class_weights": (0.0, 1.0, 1.0, 1.0)}, "above 0"),
        (LossConfig, {"temperature": 0.0}, "temperature must be above 0"),
        (PlateauConfig, {"factor": 1.0}, "factor in"),
        (PlateauConfig, {"patience": -1}, "0 or more"),
        (AugmentConfig, {"contrast_range": (1.2, 0.8)}, "rising"),
    ],
)
def test_settings_of_parts_are_checked(kind: type, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        kind(**changes)


def test_best_is_what_training_does_without_a_recipe() -> None:
    assert load_recipe("best") == TrainConfig()


def test_original_is_what_the_original_project_did() -> None:
    config = load_recipe("original")
    assert (config.preset, config.patch, config.batch) == ("reference", (128, 128, 128), 1)
    assert (config.steps, config.epoch_steps) == (25 * 16, 16)
    assert (config.optimizer, config.learning_rate, config.weight_decay) == ("adam", 1e-3, 1e-5)
    assert config.loss == LossConfig(dice=0.0)
    assert config.schedule == "plateau"
    assert config.plateau == PlateauConfig(factor=0.5, patience=5, min_learning_rate=1e-8)
    assert config.seed == 42


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_every_setting_that_matters_to_it(name: str) -> None:
    """Nothing is left to defaults that a later version may change, but what the recipe does not use."""
    path = Path(config_module.__file__).with_name("recipes") / f"{name}.toml"
    unused = {
        "original": set(),
        "best": {"plateau", "held_out_patches"},
        "whole_brain": {"plateau", "held_out_patches"},
    }[name] | {"execution", "architecture"}
    assert set(to_mapping(TrainConfig())) - set(tomllib.loads(path.read_text())) == unused


SEARCH = Path(__file__).parents[2] / "data" / "search"
COSTS = Path(__file__).parents[2] / "benchmarks" / "results" / "0.1.0" / "search-cost.json"


@pytest.mark.parametrize("path", sorted(SEARCH.glob("*.toml")), ids=lambda path: path.stem)
def test_a_candidate_of_the_search_is_a_recipe_and_costs_what_its_record_says(path: Path) -> None:
    config = load_toml(TrainConfig, path)
    assert config == dataclasses.replace(
        TrainConfig(), preset=path.stem, norm="preset", architecture=config.architecture
    )
    [row] = [row for row in json.loads(COSTS.read_text())["rows"] if row["name"] == path.stem]
    assert row["network"] == config.network.words
    assert row["parameters"] == parameter_count(config.network)
    assert row["gflop_a_patch"] == round(gflop(config.network, (128, 128, 128)), 1)
    assert row["receptive_field"] == receptive_field(config.network)


def test_fast_is_the_winner_of_the_search() -> None:
    winner = load_toml(TrainConfig, SEARCH / "lite-deep.toml").network
    assert dataclasses.replace(winner, full_norm="ghost-batch") == PRESETS["fast"]


def test_the_norm_of_the_last_block_is_the_presets_unless_it_is_named() -> None:
    assert TrainConfig(norm="batch").network == dataclasses.replace(PRESETS["fast"], norm="batch")
    assert TrainConfig(full_norm="none").network == dataclasses.replace(PRESETS["fast"], full_norm="none")
    with pytest.raises(ConfigError, match="full_norm is 'none', that of the architecture 'same': leave it"):
        TrainConfig(preset="mine", norm="preset", architecture=UNetConfig(), full_norm="none")


def test_a_recipe_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="no recipe 'fastest': there are best, whole_brain, original"):
        load_recipe("fastest")
