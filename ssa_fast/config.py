"""Frozen dataclasses from TOML and JSON, and back, with unknown keys refused."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ssa_fast.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["from_mapping", "load_toml", "override", "to_mapping"]

T = TypeVar("T")


def load_toml(kind: type[T], path: Path) -> T:
    """A `kind` from a TOML file; a table in the file is a dataclass in a field.

    Raises ConfigError if the file cannot be read, is not TOML, or holds a key or value that `kind` refuses.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return from_mapping(kind, table, where=str(path))


def from_mapping(kind: type[T], table: Mapping[str, Any], where: str = "configuration") -> T:
    """A `kind` from plain values: lists become tuples or sets, tables dataclasses, missing keys take their defaults.

    Raises ConfigError, naming `where` and the nearest known key.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: expected a table of settings, got {type(table).__name__}")
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(typing.cast(Any, kind))}
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0)
            raise ConfigError(f"{where}: unknown key '{key}'; did you mean '{near[0]}'?")
    values = {key: _typed(hints[key], value, f"{where}: '{key}'") for key, value in table.items()}
    try:
        return kind(**values)
    except TypeError as error:  # a field without default is missing
        raise ConfigError(f"{where}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def to_mapping(config: object) -> dict[str, Any]:
    """Plain values (JSON types) of a config dataclass; `from_mapping` gives it back."""
    plain: dict[str, Any] = json.loads(
        json.dumps(dataclasses.asdict(typing.cast(Any, config)), default=sorted)
    )  # sorted: sets
    return plain


def override(config: T, **changes: Any) -> T:
    """The same config with every change that is not None applied and checked."""
    given = {key: value for key, value in changes.items() if value is not None}
    return typing.cast(T, dataclasses.replace(typing.cast(Any, config), **given))


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotation `hint` wants it, or ConfigError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_mapping(typing.cast(type, hint), value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        return _typed(inner[0], value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where} must be one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin in (tuple, frozenset):
        return origin(_typed_tuple(arguments if origin is tuple else (*arguments, ...), value, where))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a table, got {value!r}")
        return {key: _typed(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} must be {hint.__name__}, got {value!r}")
    return value


def _typed_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where} must be a list, got {value!r}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_typed(arguments[0], item, where) for item in value)
    if len(value) != len(arguments):
        raise ConfigError(f"{where} must have {len(arguments)} values, got {len(value)}")
    return tuple(_typed(argument, item, where) for argument, item in zip(arguments, value, strict=True))
