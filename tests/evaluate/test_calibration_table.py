from __future__ import annotations

import json

import numpy as np

from ssa_fast.evaluate.calibration import BINS, RULE, Calibration, Reliability, reliability
from ssa_fast.evaluate.calibration_table import calibration_json, calibration_text
from ssa_fast.metrics.overlap import TARGETS


def off_by(error: float, count: int = 8) -> dict[str, Reliability]:
    """Every target: so many voxels of probability 0.5 + error, half of which are true."""
    values = np.full(count, 0.5 + error, dtype=np.float32)
    return dict.fromkeys(TARGETS, reliability(values, np.arange(count) % 2 == 0))


CALIBRATION = Calibration(
    cases={"A": off_by(0.25), "B": off_by(0.25), "C": off_by(0.375)}, failures={"D": "case D: no map"}
)


def test_the_table_reads_as_typed_here() -> None:
    expected = """\
probability     NCR      ED      ET      WT      TC
---------------------------------------------------
0.0 to 0.1        -       -       -       -       -
0.1 to 0.2        -       -       -       -       -
0.2 to 0.3        -       -       -       -       -
0.3 to 0.4        -       -       -       -       -
0.4 to 0.5        -       -       -       -       -
0.5 to 0.6        -       -       -       -       -
0.6 to 0.7        -       -       -       -       -
0.7 to 0.8    0.500   0.500   0.500   0.500   0.500
0.8 to 0.9    0.500   0.500   0.500   0.500   0.500
0.9 to 1.0        -       -       -       -       -
---------------------------------------------------
ECE          0.2917  0.2917  0.2917  0.2917  0.2917
"""
    groups = """\
ECE by group  cases     NCR      ED      ET      WT      TC
-----------------------------------------------------------
Accra             1  0.3750  0.3750  0.3750  0.3750  0.3750
Lagos             2  0.2500  0.2500  0.2500  0.2500  0.2500"""
    text = calibration_text(CALIBRATION, {"A": "Lagos", "B": "Lagos", "C": "Accra", "D": "Accra"})
    assert text == f"{expected}{RULE}\n\n{groups}\n\nWithout a calibration: 1 of 4 cases\n  case D: no map"
    assert max(len(line) for line in text.splitlines()) <= 120


def test_json_holds_curves_and_errors_and_null_where_nothing_is_known() -> None:
    kept = json.loads(json.dumps(calibration_json(CALIBRATION, {"A": "x", "B": "x", "C": "y"}), allow_nan=False))
    assert kept["cases"]["C"]["TC"] == kept["groups"]["y"]["TC"] == 0.375
    assert kept["targets"]["WT"]["voxels"] == [0, 0, 0, 0, 0, 0, 0, 16, 8, 0]
    assert kept["targets"]["WT"]["mean_probability"] == [None] * 7 + [0.75, 0.875, None]
    assert kept["targets"]["WT"]["true_share"] == [None] * 7 + [0.5, 0.5, None]
    assert kept["bins"] == BINS
    assert kept["failures"] == {"D": "case D: no map"}


def test_of_no_case_there_is_no_table_but_the_reason() -> None:
    nothing = Calibration(cases={}, failures={"D": "case D: no map"})
    assert calibration_text(nothing) == "Without a calibration: 1 of 1 cases\n  case D: no map"
    assert calibration_json(nothing)["targets"] == {}
