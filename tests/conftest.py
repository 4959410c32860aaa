"""For all tests: the real cases, where they are at hand, one of them to spoil, and how hypothesis runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# the same examples every time, and no failure because the machine is busy
settings.register_profile("ssa_fast", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ssa_fast")

REAL_CASES = Path(__file__).resolve().parents[2] / "shared" / "ssa"


@pytest.fixture(scope="session")
def shared_ssa() -> Path:
    """The folder of real BraTS-SSA cases beside the repository, read-only. Skips where it is absent."""
    if not REAL_CASES.is_dir():
        pytest.skip("no real cases: ../shared/ssa is absent")
    return REAL_CASES


@pytest.fixture
def real_case(shared_ssa: Path, tmp_path: Path) -> Path:
    """A copy of one real case folder, alone in its parent folder, with files that may be overwritten."""
    original = min(path for path in shared_ssa.iterdir() if path.is_dir())
    folder = tmp_path / "real" / original.name
    folder.mkdir(parents=True)
    for file in original.iterdir():
        shutil.copyfile(file, folder / file.name)  # the content only: the originals' read-only mode stays behind
    return folder


@pytest.fixture(scope="session")
def phantom_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one phantom of full size, not to be changed: for what must run where no real case is at hand."""
    from ssa_fast.volume.phantom import write_phantoms

    [folder] = write_phantoms(tmp_path_factory.mktemp("phantom"), cases=1, seed=0)
    return folder


@pytest.fixture(params=["phantom", "real"])
def whole_case(request: pytest.FixtureRequest) -> Path:
    """The folder of a case of full size with its reference, not to be changed: a phantom, then a real one."""
    if request.param == "phantom":
        folder: Path = request.getfixturevalue("phantom_case")
        return folder
    cases: Path = request.getfixturevalue("shared_ssa")
    return cases / "BraTS-SSA-00010-000"


@pytest.fixture(scope="session")
def tiny_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tiny random network with instance norm and half-resolution stem, like `lite`."""
    from tests.networks import tiny_bundle  # needs torch: tests without it must collect

    return tiny_bundle(tmp_path_factory.mktemp("tiny"))
