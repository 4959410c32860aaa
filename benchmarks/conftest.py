"""What the benchmarks share: a real case where there is one, else a phantom; the shipped bundle; the machine's line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssa_fast.measure import machine_line
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.pretrained import shipped_bundle
from ssa_fast.volume.case import CaseFiles, find_cases
from ssa_fast.volume.phantom import write_phantoms

REAL_CASE = Path(__file__).resolve().parents[2] / "shared" / "ssa" / "BraTS-SSA-00047-000"


@pytest.fixture(scope="session")
def case_files(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    """BraTS-SSA-00047-000, whose brain pads to 144 x 176 x 144, or a phantom where the real cases are absent."""
    if REAL_CASE.is_dir():
        return find_cases([REAL_CASE])[0]
    return find_cases(write_phantoms(tmp_path_factory.mktemp("phantom"), cases=1, seed=0))[0]


@pytest.fixture(scope="session")
def lite() -> Bundle:
    """The shipped bundle."""
    return read_bundle(shipped_bundle("lite"))


@pytest.fixture(scope="session", autouse=True)
def _say_the_machine() -> None:
    print(f"\n{machine_line('benchmarks')}")
