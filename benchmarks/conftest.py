"""What the benchmarks share: what is asked for, real cases or else phantoms, a yardstick, and where records go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import quiet
from benchmarks.plain_convolution import Yardstick
from benchmarks.suite import Suite, row_of
from benchmarks.targets import known, load_targets, table
from ssa_fast.errors import ConfigError
from ssa_fast.files import write_json
from ssa_fast.measure import machine_line
from ssa_fast.model.bundle import Bundle, read_bundle
from ssa_fast.pretrained import DEFAULT_BUNDLE, bundle_path, shipped_bundle
from ssa_fast.volume.case import CaseFiles, find_cases
from ssa_fast.volume.phantom import write_phantoms

REAL_CASES = Path(__file__).resolve().parents[2] / "shared" / "ssa"
REAL_CASE = REAL_CASES / "BraTS-SSA-00047-000"

Keep = Callable[[str, Mapping[str, Any]], None]

_SUITE = pytest.StashKey[Suite]()
_LEAST_SECONDS = 1e-5  # of a row: what takes less has a record of its own, and timed nothing here


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ssa-fast", "benchmarks of ssa-fast")
    group.addoption(
        "--bundle", default=DEFAULT_BUNDLE, help="what is measured: a shipped bundle's name, or an .onnx file"
    )
    group.addoption("--int8-bundle", type=Path, help="the same in int8, by `ssa-fast export --precision int8`")
    group.addoption("--engine", type=Path, help="an engine of it, by `ssa-fast export --backend openvino`")
    group.addoption("--cases", type=Path, action="append", help="a case, or a folder of cases; repeat for more")
    group.addoption("--rounds", type=int, default=5, help="pairs a case, A B A B")
    group.addoption("--records", type=Path, help="a folder for the records, such as benchmarks/results/0.1.0")
    group.addoption("--busy", action="store_true", help="record although others take the processor, and say so")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Nothing is measured for a record on a machine that does other work; what it says is one line."""
    config, is_busy = session.config, False
    folder: Path | None = None if config.getoption("benchmark_disable") else config.getoption("records")
    if folder is not None:
        refusal = quiet.refusal(quiet.watch())
        is_busy = refusal is not None
        if refusal is not None and not config.getoption("busy"):
            raise pytest.UsageError(refusal)
    try:
        config.stash[_SUITE] = Suite(folder=folder, is_busy=is_busy)
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    folder: Path | None = config.getoption("records")
    if folder is None or config.getoption("benchmark_disable"):
        return
    terminalreporter.section("targets")
    terminalreporter.write_line(table([known(target, folder) for target in load_targets()]))
    terminalreporter.write_line(f"record: {config.stash[_SUITE].path}")


@pytest.fixture(autouse=True)
def _beside_the_yardstick(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each benchmark has its yardstick before and behind it, and its row in the record."""
    if "benchmark" not in request.fixturenames or request.config.getoption("benchmark_disable"):
        yield
        return
    benchmark, yardstick, meter = request.getfixturevalue("benchmark"), Yardstick(), quiet.Meter()
    yardstick.measure()
    yield
    foreign = meter.foreign()
    yardstick.measure()
    if benchmark.stats is not None and benchmark.stats.stats.max >= _LEAST_SECONDS:
        request.config.stash[_SUITE].add(request.node.name, row_of(benchmark, yardstick, foreign))


@pytest.fixture(scope="session")
def case_files(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> CaseFiles:
    """BraTS-SSA-00047-000, whose brain pads to 144 x 176 x 144, or a phantom where the real cases are absent.

    Where nothing is measured, a brain that pads to 96 x 96 x 96.
    """
    if request.config.getoption("benchmark_disable"):
        from tests.cases import write_case

        return find_cases([write_case(tmp_path_factory.mktemp("small"), "Small-000", shape=(112, 108, 104))])[0]
    if REAL_CASE.is_dir():
        return find_cases([REAL_CASE])[0]
    return find_cases(write_phantoms(tmp_path_factory.mktemp("phantom"), cases=1, seed=0))[0]


@pytest.fixture(scope="session")
def tiny_case(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    """A case for where nothing is measured: a brain of 32 x 28 x 26 voxels."""
    from tests.cases import write_case

    return find_cases([write_case(tmp_path_factory.mktemp("tiny"), "Tiny-000", shape=(40, 36, 34))])[0]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for where nothing is measured: a random network of three levels, like `lite`."""
    from tests.networks import tiny_bundle

    return tiny_bundle(tmp_path_factory.mktemp("tiny-bundle"))


@pytest.fixture(scope="session")
def cohort(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    """The cases of `--cases`, else all real ones, else three phantoms; where nothing is measured, two tiny ones."""
    if request.config.getoption("benchmark_disable"):
        from tests.cases import write_case

        folder = tmp_path_factory.mktemp("tiny")
        return find_cases([write_case(folder, f"Tiny-{place:03d}", seed=place) for place in range(2)])
    asked: list[Path] | None = request.config.getoption("cases")
    if not asked and not REAL_CASES.is_dir():
        asked = write_phantoms(tmp_path_factory.mktemp("phantoms"), cases=3, seed=0)
    return find_cases(asked or [REAL_CASES])


@pytest.fixture(scope="session")
def lite(request: pytest.FixtureRequest) -> Bundle:
    """The shipped bundle; where nothing is measured, a tiny one of its form."""
    if request.config.getoption("benchmark_disable"):
        return read_bundle(request.getfixturevalue("tiny"))
    return read_bundle(shipped_bundle("lite"))


@pytest.fixture(scope="session")
def asked_bundle(request: pytest.FixtureRequest) -> Path:
    """The file of `--bundle`."""
    return bundle_path(request.config.getoption("bundle"))


@pytest.fixture(scope="session")
def int8_bundle(request: pytest.FixtureRequest) -> Path | None:
    """The file of `--int8-bundle`, which has to be the same network; None where none is given."""
    path: Path | None = request.config.getoption("int8_bundle")
    if path is not None:
        assert read_bundle(path).arithmetic == "int8", f"{path} is no int8 bundle"
    return path


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    """Pairs that are measured; with `--benchmark-disable` one."""
    asked: int = request.config.getoption("rounds")
    return 1 if request.config.getoption("benchmark_disable") else asked


@pytest.fixture
def keep_record(request: pytest.FixtureRequest) -> Keep:
    """Write a record to `--records`, or print it where none is given; what measures nothing writes nothing."""
    folder: Path | None = request.config.getoption("records")

    def keep(name: str, record: Mapping[str, Any]) -> None:
        if folder is None:
            print(f"\n{name}: {json.dumps(record, indent=2)}")
        if folder is not None and not request.config.getoption("benchmark_disable"):
            write_json(folder / f"{name}.json", record)

    return keep


@pytest.fixture(scope="session", autouse=True)
def _say_the_machine() -> None:
    print(f"\n{machine_line('benchmarks')}")
