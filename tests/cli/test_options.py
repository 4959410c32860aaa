"""Options that several verbs share."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ssa_fast.cli.options import WindowCommand, arithmetic_of, bytes_of, window_of
from ssa_fast.cli.quality import quality_of
from ssa_fast.errors import ConfigError


@click.command(cls=WindowCommand)
@click.argument("cases", nargs=-1, type=click.Path(path_type=Path))
@click.option("--window", type=window_of)
@click.option("--batch", type=int)
def _command(cases: tuple[Path, ...], window: tuple[int, int, int] | None, batch: int | None) -> None:
    click.echo(json.dumps([[str(case) for case in cases], window, batch]))


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(_command, arguments)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--window", "96", "cases"), [["cases"], [96, 96, 96], None]),
        (("cases", "--window", "96"), [["cases"], [96, 96, 96], None]),
        (("--window", "96x112x80", "cases"), [["cases"], [96, 112, 80], None]),
        (("--window", "96", "112", "80", "cases"), [["cases"], [96, 112, 80], None]),
        (("--window=96", "112", "80", "cases"), [["cases"], [96, 112, 80], None]),
        (("--window=96", "--batch", "2"), [[], [96, 96, 96], 2]),
        (("--window", "96", "112", "80", "7"), [["7"], [96, 112, 80], None]),
        (("--batch", "2", "3"), [["3"], None, 2]),
    ],
)
def test_a_window_is_one_edge_or_three(arguments: tuple[str, ...], wanted: list[object]) -> None:
    done = _run(*arguments)
    assert done.exception is None, done.output
    assert json.loads(done.output) == wanted


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (("--window", "cases"), "cases"),
        (("--window", "96", "112", "cases"), "96x112"),
        (("--window", "96.5"), "96.5"),
        (("--window", "96x"), "96x"),
        (("--window", "96x96x96x96"), "96x96x96x96"),
    ],
)
def test_another_text_is_refused_in_one_line(arguments: tuple[str, ...], seen: str) -> None:
    done = _run(*arguments)
    assert done.exit_code == 2
    assert f"'{seen}' is no window: wanted one edge in voxels, such as 96, or three, X Y Z" in done.output


@pytest.mark.parametrize(("size", "wanted"), [("3.4GB", 3_400_000_000), ("1 MiB", 2**20), ("2000000", 2_000_000)])
def test_a_size_is_a_number_and_a_unit(size: str, wanted: int) -> None:
    assert bytes_of(size) == wanted


def test_a_kind_of_maps_needs_maps() -> None:
    given = {"mirror": "", "probabilities": False, "uncertainty": False, "postprocess": None, "map_type": "float32"}
    with pytest.raises(ConfigError, match="--map-type says how maps are stored: ask for"):
        quality_of(given)


def test_int8_is_refused_with_how_to_come_by_it() -> None:
    with pytest.raises(click.BadParameter, match="ssa-fast export fast --precision int8"):
        arithmetic_of("int8")
