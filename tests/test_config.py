"""Frozen dataclasses from TOML and plain values, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_fast.config import from_mapping, load_toml, override, to_mapping
from ssa_fast.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Window:
    """A config inside another one."""

    shape: tuple[int, int, int] = (128, 128, 128)
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"window overlap must be in [0, 1), got {self.overlap}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field of every kind that the package's configs have."""

    name: str
    steps: int = 100
    rate: float = 0.01
    is_mirrored: bool = False
    norm: Literal["batch", "instance"] = "instance"
    channels: tuple[int, ...] = (24, 48)
    flags: frozenset[str] = frozenset()
    window: Window = Window()
    best: float | None = None
    inner: Window | None = None
    weights: Mapping[str, float] = field(default_factory=dict)


_OVERLAPS = st.floats(0, 1, exclude_max=True)
_WINDOWS = st.builds(Window, shape=st.tuples(*[st.integers(1, 512)] * 3), overlap=_OVERLAPS)
_SETTINGS = st.builds(
    Settings,
    name=st.text(),
    steps=st.integers(),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    is_mirrored=st.booleans(),
    norm=st.sampled_from(["batch", "instance"]),
    channels=st.lists(st.integers(1, 512)).map(tuple),
    flags=st.frozensets(st.text()),
    window=_WINDOWS,
    best=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    inner=st.none() | _WINDOWS,
    weights=st.dictionaries(st.text(), st.floats(0, 1)),
)


@given(_SETTINGS)
def test_a_config_comes_back_from_its_plain_values(settings: Settings) -> None:
    assert from_mapping(Settings, to_mapping(settings)) == settings


@given(_SETTINGS)
def test_a_config_comes_back_from_json(settings: Settings) -> None:
    assert from_mapping(Settings, json.loads(json.dumps(to_mapping(settings)))) == settings


def test_plain_values_hold_no_tuple_and_no_dataclass() -> None:
    plain = to_mapping(Settings(name="a"))
    assert plain["channels"] == [24, 48]
    assert plain["window"] == {"shape": [128, 128, 128], "overlap": 0.5}
    assert plain["best"] is None


def test_toml_tables_become_dataclasses_and_missing_keys_take_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'name = "Mönch"\nrate = 1\nchannels = [8, 16, 32]\n[window]\nshape = [96, 96, 64]\n[weights]\nET = 2\n',
        encoding="utf-8",
    )
    settings = load_toml(Settings, path)
    assert settings == Settings(
        name="Mönch", rate=1.0, channels=(8, 16, 32), window=Window(shape=(96, 96, 64)), weights={"ET": 2.0}
    )
    assert isinstance(settings.rate, float)


def test_a_loaded_config_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        from_mapping(Settings, {"name": "a"}).steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "nearest"), [("step", "steps"), ("learning_rate", "rate"), ("Norm", "norm"), ("wieghts", "weights")]
)
def test_an_unknown_key_is_refused_and_the_nearest_known_one_named(key: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{key}'; did you mean '{nearest}'"):
        from_mapping(Settings, {"name": "a", key: 1})


def test_an_unknown_key_far_from_all_is_refused_too() -> None:
    with pytest.raises(ConfigError, match="unknown key 'zzz'"):
        from_mapping(Settings, {"name": "a", "zzz": 1})


def test_an_unknown_key_in_a_table_names_file_and_table(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('name = "a"\n[window]\noverlapp = 0.5\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.toml: 'window': unknown key 'overlapp'; did you mean 'overlap'"):
        load_toml(Settings, path)


@pytest.mark.parametrize(
    ("key", "value", "seen_and_wanted"),
    [
        ("name", 3, "'name' must be str, got 3"),
        ("steps", "many", "'steps' must be int, got 'many'"),
        ("steps", 1.5, "'steps' must be int, got 1.5"),
        ("steps", True, "'steps' must be int, got True"),
        ("rate", True, "'rate' must be float, got True"),
        ("rate", "0.1", "'rate' must be float, got '0.1'"),
        ("is_mirrored", 1, "'is_mirrored' must be bool, got 1"),
        ("norm", "layer", "'norm' must be one of batch, instance, got 'layer'"),
        ("channels", 24, "'channels' must be a list, got 24"),
        ("channels", "24", "'channels' must be a list, got '24'"),
        ("channels", [24, "48"], "'channels' must be int, got '48'"),
        ("window", 128, "'window': expected a table of settings, got int"),
        ("window", {"shape": [128, 128]}, "'shape' must have 3 values, got 2"),
        ("window", {"overlap": 1.0}, "'window': window overlap must be in [0, 1), got 1.0"),
        ("inner", {"overlap": -1}, "'inner': window overlap must be in [0, 1), got -1.0"),
        ("best", "none", "'best' must be float, got 'none'"),
        ("weights", [1.0], "'weights' must be a table, got [1.0]"),
        ("weights", {"ET": "much"}, "'weights'.ET must be float, got 'much'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_the_value_seen_and_the_type_wanted(
    key: str, value: Any, seen_and_wanted: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Settings, {"name": "a", key: value}, where="train.toml")
    assert str(caught.value).startswith("train.toml: ")
    assert seen_and_wanted in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_field_without_default_is_named() -> None:
    with pytest.raises(ConfigError, match=r"configuration: .*'name'"):
        from_mapping(Settings, {})


@pytest.mark.parametrize("value", [None, [1], "text"])
def test_what_is_no_table_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="expected a table of settings"):
        from_mapping(Settings, value)


@pytest.mark.parametrize(
    ("content", "seen"),
    [(b"name = \n", "not TOML"), (b'name = "a"\nname = "b"\n', "not TOML"), (b"\xff\xfe", "not TOML")],
    ids=["no value", "double key", "not UTF-8"],
)
def test_a_file_that_is_no_toml_is_refused_in_one_line(content: bytes, seen: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=seen) as caught:
        load_toml(Settings, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_file_and_a_folder_are_refused_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read \(No such file"):
        load_toml(Settings, tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_toml(Settings, tmp_path)


def test_override_applies_what_is_given_and_leaves_the_rest() -> None:
    settings = Settings(name="a", steps=5)
    changed = override(settings, steps=0, rate=None, is_mirrored=False)
    assert changed == Settings(name="a", steps=0)
    assert settings.steps == 5


def test_override_checks_the_new_value() -> None:
    with pytest.raises(ConfigError, match="overlap must be in"):
        override(Window(), overlap=2.0)
