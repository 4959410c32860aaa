from __future__ import annotations

import csv

import numpy as np
import pytest

from ssa_fast.evaluate.degrade import DEGRADATIONS
from ssa_fast.evaluate.stress import Strain, StressSheet, stress
from ssa_fast.infer.intake import Intake
from ssa_fast.infer.segmenter import Segmenter
from ssa_fast.volume.case import CaseFiles, find_cases
from tests.cases import SHAPE, brain_values, tumor_labels, write_case, write_nifti
from tests.infer.fakes import BrightnessBackend

ONE, TWO = "A-1", "A-2"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    """Two cases whose tumour is bright on t1c (ET) and t2f (the rest), as the backend without a network sees it."""
    folder = tmp_path_factory.mktemp("cases")
    for seed, name in enumerate((ONE, TWO)):
        write_case(folder, name, seed=seed)
        labels = tumor_labels()
        for modality, bright in (("t1c", labels == 3), ("t2f", labels > 0)):
            values = np.where(brain_values() != 0, 100 + brain_values(SHAPE, seed=seed) / 100 + 200 * bright, 0)
            write_nifti(folder / name / f"{name}-{modality}.nii.gz", values.astype(np.float32))
    return find_cases([folder])


@pytest.fixture(scope="module")
def heard_and_sheet(cases: list[CaseFiles]) -> tuple[list[Strain], StressSheet]:
    heard: list[Strain] = []
    segmenter = Segmenter(BrightnessBackend(), intake=Intake(is_forced=True))
    return heard, stress(segmenter, cases, [4, 1], heard.append)


def test_every_case_is_scored_as_it_is_and_at_each_severity(
    heard_and_sheet: tuple[list[Strain], StressSheet],
) -> None:
    heard, sheet = heard_and_sheet
    assert tuple(heard) == sheet.strains
    assert list(sheet.severities) == list(DEGRADATIONS)
    assert sheet.severities["noise"] == [0, 1, 4]
    assert sheet.severities["no t1c"] == [0, 1]  # it has no more
    assert len(sheet.strains) == 2 * (5 * 3 + 4 * 2)


def test_what_the_network_does_not_look_at_costs_nothing_and_what_it_needs_costs_all(
    heard_and_sheet: tuple[list[Strain], StressSheet],
) -> None:
    sheet = heard_and_sheet[1]
    assert sheet.mean("no t1n", 0, "WT") > 0.8
    assert sheet.mean("no t1n", 1, "WT") == sheet.mean("no t1n", 0, "WT")
    assert sheet.mean("no t1c", 1, "ET") < 0.4 < sheet.mean("no t1c", 0, "ET")
    assert sheet.mean("noise", 4, "WT") < sheet.mean("noise", 0, "WT")


def test_table_json_and_csv_hold_the_same_numbers(heard_and_sheet: tuple[list[Strain], StressSheet]) -> None:
    sheet = heard_and_sheet[1]
    value = sheet.mean("motion", 4, "TC")
    row = next(line for line in sheet.to_text().splitlines() if line.startswith("motion") and line.split()[1] == "4")
    assert f"{value:.3f} ({value - sheet.mean('motion', 0, 'TC'):+.2f})" in row
    rows = [
        float(line["dice"])
        for line in csv.DictReader(sheet.to_csv().splitlines())
        if (line["degradation"], line["severity"], line["region"]) == ("motion", "4", "TC")
    ]
    assert np.mean(rows) == value
    plain = sheet.to_json("1.0")
    assert [one["dice"] for one in plain["strains"]] == [one.dice for one in sheet.strains]
    assert set(plain["degradations"]) == set(DEGRADATIONS)
    refused = [one.suspected for one in sheet.strains if (one.degradation, one.severity) == ("motion", 4)]
    assert row.split()[-1] == str(sum(bool(why) for why in refused)) == str(sheet.refused("motion", 4))


def test_the_figure_has_a_panel_a_degradation_with_its_means(
    heard_and_sheet: tuple[list[Strain], StressSheet],
) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ssa-fast[report]'")
    from ssa_fast.evaluate.stress_figure import stress_figure
    from tests.evaluate.reported import is_drawn, panel

    sheet = heard_and_sheet[1]
    figure = stress_figure(sheet)
    for name, severities in sheet.severities.items():
        lines = {line.get_label(): line for line in panel(figure, name).lines}
        for region in ("WT", "TC", "ET"):
            assert list(lines[region].get_ydata()) == [sheet.mean(name, severity, region) for severity in severities]
    assert is_drawn(figure)
