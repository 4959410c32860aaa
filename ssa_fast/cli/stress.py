"""The part of `ssa-fast evaluate --stress` that segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

import ssa_fast
from ssa_fast.evaluate.predictions_report import check_drawing
from ssa_fast.evaluate.stress import Strain, stress
from ssa_fast.files import write_json, write_whole
from ssa_fast.hardware import keep_heap_small
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.opening import open_segmenter
from ssa_fast.volume.case import CaseFiles

__all__ = ["run_stress"]


def run_stress(cases: Sequence[CaseFiles], out: Path, network: tuple[str, str], severities: Sequence[int]) -> None:
    """Write stress.json, stress.csv and stress.png and .svg into `out`, and say the table; `network`: bundle, backend.

    Raises what `open_segmenter` and `stress` raise, BackendUnavailable without matplotlib.
    """
    check_drawing()  # before minutes of segmenting
    from ssa_fast.evaluate.chart import save_figure
    from ssa_fast.evaluate.stress_figure import stress_figure

    def tell(strain: Strain) -> None:
        dice = "  ".join(f"{region} {value:.3f}" for region, value in strain.dice.items())
        click.echo(f"{strain.case}, {strain.degradation} {strain.severity}: {dice}", err=True)

    keep_heap_small()
    bundle, backend = network
    # forced: what is done to the cases is known, and must not be refused as suspicious
    with open_segmenter(bundle, backend, intake=Intake(is_forced=True)) as segmenter:
        sheet = stress(segmenter, cases, severities, tell)
    if not sheet.strains:
        return
    write_json(out / "stress.json", sheet.to_json(ssa_fast.__version__))
    write_whole(out / "stress.csv", sheet.to_csv().encode())
    click.echo(f"\n{sheet.to_text()}")
    click.echo(f"drew {save_figure(stress_figure(sheet), out, 'stress')[0]}")
