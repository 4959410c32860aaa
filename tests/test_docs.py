"""Documents say what is so: commands, links and files are there, numbers are computed or recorded ones."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ssa_fast.cli import cli
from ssa_fast.evaluate.statistics import RESAMPLES
from ssa_fast.hardware.cards import card_of
from ssa_fast.metrics.lesion import GROWTH, PENALTY_MM, SMALLEST_MM3
from ssa_fast.model.roofline import card_ceiling, network_roofline
from ssa_fast.model.spec import PRESETS, gflop, parameter_count, receptive_field
from ssa_fast.train.config import load_recipe
from tests.documents import PAGES, ROOT, anchors, commands, examples, links, name_of, named_files, written_lines

_ORIGINAL = (ROOT / "docs/original.md").read_text()
_RECORDS = ROOT / "benchmarks/results/0.1.0"
_WIDTH = 120

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@each_page
def test_every_command_is_one_that_the_program_takes(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda _type, value, _parameter, _context: value)  # they need not exist
    for words in commands(page):
        verb, *arguments = words
        command = importlib.import_module(f"ssa_fast.cli.{verb}").command
        try:
            command.make_context(verb, arguments)
        except click.ClickException as error:
            pytest.fail(f"ssa-fast {' '.join(words)}: {error.format_message()}")


def test_recipes_on_pages_can_be_read(tmp_path: Path) -> None:
    recipes = [block for page in PAGES for block in examples(page, "toml")]
    assert recipes
    for recipe in recipes:
        (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
        load_recipe(str(tmp_path / "recipe.toml"))


def test_commands_are_found_on_the_pages_of_their_verbs() -> None:
    seen = {words[0] for page in PAGES for words in commands(page)}
    assert set(cli.list_commands(click.Context(cli))) <= seen


@each_page
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    for link in links(page):
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


@each_page
def test_every_file_that_is_named_is_there(page: Path) -> None:
    assert [name for name in sorted(named_files(page)) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")], ids=name_of
)
def test_lines_are_short_but_for_rows_of_tables(page: Path) -> None:
    assert [line for line in written_lines(page) if len(line) > _WIDTH and not line.startswith("|")] == []


def test_the_map_names_every_room_and_what_it_names_is_there() -> None:
    design = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "ssa_fast").glob("*/__init__.py")}
    told = dict(re.findall(r"^\| `(\w+)/` \| (.*) \|$", design, re.MULTILINE))
    assert set(told) == rooms
    for room, words in told.items():
        modules = re.findall(r"`(\w+)`", words)
        assert [name for name in modules if not (ROOT / f"ssa_fast/{room}/{name}.py").exists()] == [], room
    for name in set(re.findall(rf"`((?:{'|'.join(rooms)})\.[\w.]+)`", design)):
        pkgutil.resolve_name(f"ssa_fast.{name}")  # raises where it is not there


def test_a_newcomer_can_read_the_readme() -> None:
    assert len(written_lines(ROOT / "README.md")) <= 180  # detail has its pages in docs/


@pytest.mark.parametrize(
    "arguments",
    [
        ["roofline", "--bundle", "fast", "--device", "gtx1650"],
        ["doctor", "--machine", str(ROOT / "tests/doctor/machines/gtx1650.json")],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_a_page_quotes_of_an_output_is_what_is_printed(arguments: list[str]) -> None:
    printed = CliRunner().invoke(cli, arguments, catch_exceptions=False).output.splitlines()
    page = (
        (ROOT / "docs/doctor.md").read_text(encoding="utf-8").partition(f"## {arguments[0]}")[2].partition("\n## ")[0]
    )
    quoted = [line[4:] for line in page.splitlines() if line.startswith("    ") and "ssa-fast " not in line[:13]]
    assert len(quoted) >= 4
    assert [line for line in quoted if line not in printed] == []


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


def test_the_methodologys_numbers_are_the_codes() -> None:
    words = " ".join((ROOT / "docs/methodology.md").read_text(encoding="utf-8").split())
    best = load_recipe("best")
    for said in (
        f"padded to multiples of {PRESETS['lite'].divisor} voxels",
        f"`reference` has the {parameter_count(PRESETS['reference']):,} parameters",
        f"and has {parameter_count(PRESETS['lite']):,}",
        f"Patches of {best.patch[0]}^3. Of these {best.tumor_share:.0%}".replace("%", " %"),
        f"grown by {GROWTH} voxels",
        f"Lesions of {SMALLEST_MM3:g} mm3 or less",
        f"One empty: {PENALTY_MM:g} mm",
        f"{RESAMPLES:,} samples",
    ):
        assert said in words, said


def test_the_originals_means_are_right() -> None:
    scores = (0.98, 0.72, 0.91, 0.86)
    assert f"**{sum(scores) / 4:.4f}**" in _ORIGINAL
    assert f"**{sum(scores[1:]) / 3:.2f}**" in _ORIGINAL
