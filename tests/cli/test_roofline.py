"""`ssa-fast roofline`: the table, the verdict on a time, and the same as JSON."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from ssa_fast.cli.roofline import command
from ssa_fast.errors import BundleError, ConfigError
from ssa_fast.hardware import CARDS
from ssa_fast.model.spec import PRESETS


def roofline(*arguments: object) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.parametrize("device", CARDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_table_fits_100_columns_on_every_card(preset: str, device: str) -> None:
    done = roofline("--preset", preset, "--device", device)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 44
    last = f"decoder.0.conv{PRESETS[preset].decoder_depths[0]}"  # of the finest level
    assert any(line.startswith(last) for line in lines)


def test_the_shipped_bundle_on_a_gtx_1650_meets_150_ms_at_a_fifth_of_the_peak() -> None:
    text = roofline("--bundle", "lite", "--device", "gtx1650").stdout
    assert "150 ms asks for 19% of the float32 peak\n" in text
    assert "of it arithmetic at peak                                    28.8     14.4\n" in text
    assert "no tensor cores" in text
    assert "NVIDIA's product page" in text


def test_the_reference_network_there_is_out_of_reach_and_that_is_said() -> None:
    text = roofline("--preset", "reference", "--device", "gtx1650").stdout
    assert "150 ms asks for 215% of the float32 peak: out of reach, the floor is 325 ms\n" in text
    assert "150 ms asks for 108% of the float16 peak: out of reach, the floor is 162 ms\n" in text
    assert "out of reach" not in roofline("--preset", "reference", "--device", "gtx1650", "--target-ms", 330).stdout


def test_json_holds_the_same_numbers() -> None:
    done = roofline("--preset", "reference", "--device", "gtx1650", "--json")
    facts = json.loads(done.stdout)
    assert round(facts["sum"]["float32"]["arithmetic_ms"]) == 323
    assert round(facts["sum"]["float16"]["arithmetic_ms"]) == 161
    assert sum(layer["floor_ms"]["float32"] for layer in facts["layers"]) == facts["sum"]["float32"]["floor_ms"]


def test_this_machine_is_measured() -> None:
    facts = json.loads(roofline("--json", "--shape", 16, 16, 16).stdout)
    assert facts["source"].startswith("measured now by torch")
    assert facts["peaks_per_second"]["float32"] > 1e8
    assert facts["bandwidth_bytes_per_second"] > 1e8


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("--bundle", "lite", "--preset", "lite"), ConfigError, "not both"),
        (("--target-ms", "0"), ConfigError, "--target-ms 0"),
        (("--bundle", "huge", "--device", "t4"), BundleError, "no bundle 'huge'"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[str, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        roofline(*arguments)
