"""Options that ask for more than one look of one network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

from ssa_fast.errors import ConfigError
from ssa_fast.infer.quality import Quality
from ssa_fast.volume.postprocess import POSTPROCESSING

__all__ = ["quality_of", "quality_options"]

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--mirror", default="", metavar="AXES", help="Average the brain's flips too, along such as x or xyz."),
    click.option("--probabilities", is_flag=True, help="Write OUT/CASE-probabilities.nii.gz, too: a volume a label."),
    click.option("--uncertainty", is_flag=True, help="Say how far each region is to be trusted, and write maps of it."),
    click.option(
        "--map-type",
        type=click.Choice(["uint8", "float32"]),
        default="uint8",
        show_default=True,
        help="How maps are stored; uint8: in 255ths.",
    ),
    click.option(
        "--postprocess",
        type=click.Choice([*POSTPROCESSING]),
        help="Mend labels by this profile, not by the one that the bundle names.",
    ),
)


def quality_options(command: Function) -> Function:
    """Add an option for each field of `Quality`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def quality_of(given: dict[str, Any]) -> Quality:
    """What was asked for; its options are taken out of `given`.

    Raises ConfigError for a kind of maps where none are asked for.
    """
    quality = Quality(**{field.name: given.pop(field.name) for field in fields(Quality)})
    if quality.map_type != Quality.map_type and not quality.has_maps:
        raise ConfigError("--map-type says how maps are stored: ask for --probabilities or --uncertainty too")
    return quality
