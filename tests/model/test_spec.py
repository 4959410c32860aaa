"""The networks' shapes, counted by hand, by formula and by torch."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from ssa_fast.errors import BundleError, ConfigError
from ssa_fast.model.spec import (
    PRESETS,
    ModelSpec,
    UNetConfig,
    gflop,
    layers,
    live_values,
    parameter_count,
    receptive_field,
)
from ssa_fast.model.unet import UNet
from tests.live_bytes import LiveBytes
from tests.networks import MEMBERS


@st.composite
def network_configs(draw: st.DrawFn) -> UNetConfig:
    """Any member of the family, of up to three levels: their edges are multiples of 16 at most."""
    levels = draw(st.integers(2, 3))
    block = draw(st.sampled_from(["double", "residual", "bottleneck"]))
    widths = st.sampled_from([2, 4, 6]) if block == "bottleneck" else st.integers(1, 6)
    counts = st.integers(1, 4)
    return UNetConfig(
        channels=tuple(draw(st.lists(widths, min_size=levels, max_size=levels))),
        norm=draw(st.sampled_from(["batch", "instance", "none"])),
        stem=draw(st.sampled_from(["none", "half", "quarter"])),
        modalities=draw(st.integers(1, 5)),
        classes=draw(st.integers(2, 5)),
        block=block,
        convolutions=tuple(draw(st.just([]) | st.lists(counts, min_size=levels, max_size=levels))),
        decoder_convolutions=tuple(draw(st.just([]) | st.lists(counts, min_size=levels - 1, max_size=levels - 1))),
    )


configs = network_configs()


@pytest.mark.parametrize(("preset", "count"), [("reference", 22_580_964), ("lite", 3_176_604), ("fast", 5_323_548)])
def test_presets_have_the_parameters_of_the_design(preset: str, count: int) -> None:
    assert parameter_count(PRESETS[preset]) == count
    assert sum(parameter.numel() for parameter in UNet(PRESETS[preset]).parameters()) == count


@pytest.mark.parametrize(("preset", "work"), [("reference", 962.5), ("lite", 85.9), ("fast", 69.6)])
def test_presets_have_the_gflop_of_the_design_at_128(preset: str, work: float) -> None:
    assert gflop(PRESETS[preset], (128, 128, 128)) == pytest.approx(work, abs=0.05)


def test_live_values_worked_by_hand() -> None:
    # lite's last convolution: input 4 waiting, 12 in, 8 out, and the larger again where a norm has a copy of its own
    assert live_values(PRESETS["lite"]) == pytest.approx(4 + 12 + 8 + 12, abs=0.5)
    assert live_values(PRESETS["lite"], has_copies=False) == pytest.approx(4 + 12 + 8, abs=0.5)


def test_what_waits_beside_a_layer_is_its_shortcut() -> None:
    def beside(block: Literal["residual", "bottleneck"]) -> dict[str, int]:
        config = UNetConfig(channels=(4, 8), block=block, convolutions=(3, 1), decoder_convolutions=(1,))
        return {layer.name: layer.beside for layer in layers(config) if "coder" in layer.name}

    # four modalities are four channels: that shortcut is what the first convolution reads, not a copy of it
    first = {"encoder.0.conv1": 0, "encoder.0.conv2": 4, "encoder.0.conv3": 0}
    assert beside("residual") == {
        **first,
        "encoder.1.shortcut_conv": 0,
        "encoder.1.conv1": 8,
        "decoder.0.shortcut_conv": 0,
        "decoder.0.conv1": 4,
    }
    assert [count for name, count in beside("bottleneck").items() if "encoder.1" in name] == [0, 8, 8, 8]


@pytest.mark.parametrize("name", sorted(MEMBERS.keys() - {"residual"}))  # whose finest skip Python holds too long
def test_live_values_are_what_torch_has_alive(name: str) -> None:
    # torch's norms make copies that engines do not
    config = dataclasses.replace(MEMBERS[name], norm="none", full_norm="same")
    network = UNet(config).eval()
    with torch.inference_mode(), LiveBytes() as live:
        windows = torch.zeros(1, 4, 32, 48, 32)
        network(windows)
    planned = 4 * windows[0, 0].numel() * live_values(config, has_copies=False)
    assert 0.95 * planned <= live.peak <= 1.15 * planned


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_divide_their_input_by_16(preset: str) -> None:
    assert PRESETS[preset].divisor == 16


@settings(max_examples=40, deadline=None)
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


RECEPTIVE = {
    "two levels": UNetConfig(channels=(1, 1), norm="none"),
    "two levels behind a stem": UNetConfig(channels=(1, 1), norm="none", stem="half"),
    "two levels at a quarter": UNetConfig(channels=(1, 1), norm="none", stem="quarter"),
    "no full block": UNetConfig(channels=(1, 1), norm="none", stem="half", has_full_block=False),
    "three levels": UNetConfig(channels=(1, 2, 1), norm="none"),
    "three levels behind a stem": UNetConfig(channels=(1, 2, 1), norm="none", stem="half"),
    "uneven": UNetConfig(channels=(1, 1, 1), norm="none", convolutions=(1, 3, 2), decoder_convolutions=(2, 1)),
    "residual": UNetConfig(channels=(1, 2), norm="none", block="residual", convolutions=(3, 1)),
    "bottleneck": UNetConfig(channels=(2, 2), norm="none", block="bottleneck", decoder_convolutions=(1,)),
}


@pytest.mark.parametrize("name", RECEPTIVE)
def test_the_receptive_field_is_as_far_as_one_voxel_is_felt(name: str) -> None:
    config = dataclasses.replace(RECEPTIVE[name], modalities=1, classes=2)
    network = UNet(config).eval()
    length, felt = 16 * config.divisor, []
    for place in range(length):
        windows = torch.zeros(1, 1, length, config.divisor, config.divisor)
        windows[0, 0, place] = torch.nan  # goes wherever a weight, or a maximum, takes it
        with torch.no_grad():
            felt.append(network(windows)[0, 0, :, 0, 0].isnan())
    inside = slice(4 * config.divisor, 12 * config.divisor)  # whose fields lie within the volume
    assert receptive_field(config) == int(torch.stack(felt)[:, inside].sum(0).max())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"convolutions": (2, 2)}, r"convolutions need 3 numbers of 1 or more for 3 levels, got \(2, 2\)"),
        ({"convolutions": (2, 0, 2)}, "numbers of 1 or more"),
        ({"decoder_convolutions": (1, 1, 1)}, "decoder_convolutions need 2 numbers"),
        ({"block": "bottleneck", "channels": (3, 4, 8)}, "bottlenecks need channels in multiples of 2"),
        ({"block": "bottleneck", "norm": "group"}, r"multiples of 8, got \(8, 16, 24\), \(4, 8, 12\) in bottlenecks"),
        ({"norm": "group", "channels": (8, 12, 16)}, r"multiples of 8, got \(8, 12, 16\)$"),
    ],
)
def test_networks_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        UNetConfig(**{"channels": (8, 16, 24), **changes})


def test_earlier_versions_are_told_of_presets_what_they_know() -> None:
    for preset in ("reference", "lite"):  # `fast` is younger than these versions, and they refuse what it has
        told = json.loads(ModelSpec(name="x", network=PRESETS[preset], window=(16, 16, 16)).to_json())["network"]
        assert set(told) == {"channels", "norm", "stem", "modalities", "classes"}
    told = json.loads(ModelSpec(name="x", network=MEMBERS["residual"], window=(16, 16, 16)).to_json())["network"]
    assert (told["block"], told["convolutions"]) == ("residual", [1, 2, 5])
    assert "decoder_convolutions" not in told


def test_words_tell_networks_apart() -> None:
    assert PRESETS["lite"].words == "(24, 48, 96, 192), instance norm, stem half"
    assert len({member.words for member in (*MEMBERS.values(), *PRESETS.values())}) == len(MEMBERS) + len(PRESETS)


def test_a_bundle_from_before_postprocessing_is_mended_by_nothing() -> None:
    spec = ModelSpec(name="old", network=UNetConfig(), window=(16, 16, 16), postprocessing="clean")
    old = json.loads(spec.to_json())
    del old["postprocessing"]
    assert ModelSpec.from_json(json.dumps(old), where="test").postprocessing == "none"
    assert ModelSpec.from_json(spec.to_json(), where="test").postprocessing == "clean"
