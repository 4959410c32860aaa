"""The networks' shapes, counted by hand, by formula and by torch."""

from __future__ import annotations

import json
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from ssa_fast.errors import BundleError, ConfigError
from ssa_fast.model.spec import PRESETS, ModelSpec, UNetConfig, gflop, live_values, parameter_count, receptive_field
from ssa_fast.model.unet import UNet

configs = st.builds(
    UNetConfig,
    channels=st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple),
    norm=st.sampled_from(["batch", "instance", "none"]),
    stem=st.sampled_from(["none", "half"]),
    modalities=st.integers(1, 5),
    classes=st.integers(2, 5),
)


@pytest.mark.parametrize(("preset", "count"), [("reference", 22_580_964), ("lite", 3_176_604)])
def test_presets_have_the_parameters_of_the_design(preset: str, count: int) -> None:
    assert parameter_count(PRESETS[preset]) == count
    assert sum(parameter.numel() for parameter in UNet(PRESETS[preset]).parameters()) == count


@pytest.mark.parametrize(("preset", "work"), [("reference", 962.5), ("lite", 85.9)])
def test_presets_have_the_gflop_of_the_design_at_128(preset: str, work: float) -> None:
    assert gflop(PRESETS[preset], (128, 128, 128)) == pytest.approx(work, abs=0.05)


def test_live_values_worked_by_hand() -> None:
    # lite's last convolution: input 4 waiting, 12 in, 8 out, and the larger again where a norm has a copy of its own
    assert live_values(PRESETS["lite"]) == pytest.approx(4 + 12 + 8 + 12, abs=0.5)
    assert live_values(PRESETS["lite"], has_copies=False) == pytest.approx(4 + 12 + 8, abs=0.5)


@pytest.mark.parametrize("preset", ["reference", "lite"])
def test_presets_divide_their_input_by_16(preset: str) -> None:
    assert PRESETS[preset].divisor == 16


@settings(max_examples=25, deadline=None)
@given(configs)
def test_formulas_agree_with_torch_for_any_network(config: UNetConfig) -> None:
    network = UNet(config).eval()
    edges = [config.divisor, 2 * config.divisor, config.divisor]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, config.modalities, *edges))
    assert parameter_count(config) == sum(parameter.numel() for parameter in network.parameters())
    assert gflop(config, edges) == pytest.approx(counter.get_total_flops() / 1e9)


@given(configs, st.text(max_size=20), st.dictionaries(st.text(max_size=5), st.floats(0, 1), max_size=3))
def test_a_spec_survives_json(config: UNetConfig, name: str, scores: dict[str, float]) -> None:
    modalities = tuple(f"m{place}" for place in range(config.modalities))
    labels = tuple(f"l{place}" for place in range(config.classes))
    spec = ModelSpec(
        name=name, network=config, window=(32, 48, 64), modalities=modalities, labels=labels, scores=scores
    )
    assert ModelSpec.from_json(spec.to_json(), where="test") == spec


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}', '{"name": "x", "new_key": 1}'])
def test_what_is_no_spec_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(BundleError, match="here"):
        ModelSpec.from_json(text, where="here")


def test_a_spec_must_name_as_many_modalities_and_labels_as_its_network_has() -> None:
    with pytest.raises(ConfigError, match="names 3 modalities and 4 labels"):
        ModelSpec(name="x", network=UNetConfig(), window=(16, 16, 16), modalities=("t1n", "t1c", "t2w"))


@pytest.mark.parametrize("channels", [(), (8,), (8, 0)])
def test_a_network_needs_two_levels(channels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="two levels"):
        UNetConfig(channels=channels)


@pytest.mark.parametrize("stem", ["none", "half"])
@pytest.mark.parametrize("channels", [(1, 1), (1, 2, 1)])
def test_the_receptive_field_is_as_far_as_one_voxel_is_felt(
    channels: tuple[int, ...], stem: Literal["none", "half"]
) -> None:
    config = UNetConfig(channels=channels, norm="none", stem=stem, modalities=1, classes=2)
    network = UNet(config).eval()
    length, felt = 16 * config.divisor, []
    for place in range(length):
        windows = torch.zeros(1, 1, length, config.divisor, config.divisor)
        windows[0, 0, place] = torch.nan  # goes wherever a weight, or a maximum, takes it
        with torch.no_grad():
            felt.append(network(windows)[0, 0, :, 0, 0].isnan())
    inside = slice(4 * config.divisor, 12 * config.divisor)  # whose fields lie within the volume
    assert receptive_field(config) == int(torch.stack(felt)[:, inside].sum(0).max())


def test_a_bundle_from_before_postprocessing_is_mended_by_nothing() -> None:
    spec = ModelSpec(name="old", network=UNetConfig(), window=(16, 16, 16), postprocessing="clean")
    old = json.loads(spec.to_json())
    del old["postprocessing"]
    assert ModelSpec.from_json(json.dumps(old), where="test").postprocessing == "none"
    assert ModelSpec.from_json(spec.to_json(), where="test").postprocessing == "clean"
