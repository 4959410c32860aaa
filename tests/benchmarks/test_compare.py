"""What is slower is found, what a slower machine makes of all is not, and what cannot be compared is told."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.compare import changes, main, remarks
from benchmarks.plain_convolution import NAME, Yardstick
from benchmarks.records import machine_facts
from benchmarks.suite import FORM, Suite
from ssa_fast.backends import Backend, open_backend
from ssa_fast.errors import ConfigError
from ssa_fast.model.bundle import read_bundle

ROUNDS = 5


def _record(*, speed: float = 1.0, **rows: float) -> dict[str, Any]:
    """Rows by their seconds, on a machine that is `speed` times as fast."""
    return {
        "form": FORM,
        "yardstick": NAME,
        "machine": machine_facts(),
        "rows": {
            name: {
                "group": "g",
                "seconds": {"median": seconds / speed, "min": 0.9 * seconds / speed, "rounds": ROUNDS},
                "yardstick_seconds": {"median": 0.1 / speed, "min": 0.09 / speed},
                "is_busy": False,
                "about": {"peak_bytes": 10**9, "label_agreement": 0.999},
            }
            for name, seconds in rows.items()
        },
    }


def _written(folder: Path, name: str, record: dict[str, Any]) -> str:
    (folder / name).write_text(json.dumps(record))
    return str(folder / name)


def test_a_machine_that_is_half_as_fast_makes_nothing_slower() -> None:
    found = changes(_record(a=1.0, b=2.0), _record(speed=0.5, a=1.0, b=2.0))
    assert [change.ratio for change in found] == pytest.approx([1, 1])
    assert not any(change.is_worse for change in found)


def test_a_slower_row_is_found_and_stands_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = _record(a=1.0, b=2.0), _record(speed=2, a=1.0, b=2.4)
    assert main([_written(tmp_path, "old.json", old), _written(tmp_path, "new.json", new)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[1].split() == ["b", "20.000", "24.000", "1.20", "1.20", "slower"]
    assert said[2].split() == ["a", "10.000", "10.000", "1.00", "1.00"]
    assert said[3] == "1 of 2 rows are worse than 15% allow"
    options = ["--tolerance", "0.25"]
    assert main([str(tmp_path / "old.json"), str(tmp_path / "new.json"), *options]) == 0


def test_one_slow_moment_is_not_a_slower_row() -> None:
    new = _record(a=1.0)
    new["rows"]["a"]["seconds"]["median"] = 2.0  # the best round was as ever
    [change] = changes(_record(a=1.0), new)
    assert change.ratio == pytest.approx(2)
    assert not change.is_worse


def test_the_time_of_one_round_is_shown_and_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = _record(a=1.0), _record(a=2.0)
    new["rows"]["a"]["seconds"]["rounds"] = 1
    assert main([_written(tmp_path, "old.json", old), _written(tmp_path, "new.json", new)]) == 0
    assert "2.00     2.00  rounds: 1, its time is not judged" in capsys.readouterr().out
    new["rows"]["a"]["about"]["peak_bytes"] = 2e9  # its memory is
    assert main([str(tmp_path / "old.json"), _written(tmp_path, "new.json", new)]) == 1


def test_more_memory_and_fewer_equal_labels_are_worse_too() -> None:
    new = _record(a=1.0)
    new["rows"]["a"]["about"] = {"peak_bytes": 1.3e9, "label_agreement": 0.99}
    [change] = changes(_record(a=1.0), new)
    assert change.faults == ("larger: 1.00 GB, now 1.30", "less right: 99.900% of labels, now 99.000%")


def test_microseconds_are_the_clocks_affair() -> None:
    [change] = changes(_record(a=0.0005), _record(a=0.001))
    assert not change.is_worse


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("form", None, "is no 'ssa-fast benchmarks 1'"),
        ("yardstick", "another", "other yardsticks"),
        ("machine", {"cpu": "VAX", "threads": 1, "flags": [], "gpus": []}, "other machines: cpu is .* and VAX"),
        ("rows", {}, "no row in common"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(
    key: str, value: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = _record(a=1.0), _record(a=1.0) | {key: value}
    with pytest.raises(ConfigError, match=said):
        changes(old, new)
    assert main([_written(tmp_path, "old.json", old), _written(tmp_path, "new.json", new)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main([str(tmp_path / "old.json"), str(tmp_path / "absent.json")]) == 2


def test_remarks_tell_versions_missing_rows_and_busy_machines() -> None:
    old, new = _record(a=1.0, b=1.0), _record(a=1.0, c=1.0)
    new["machine"] = copy.deepcopy(new["machine"])
    new["machine"]["versions"]["numpy"] = "9.9"
    new["rows"]["a"]["is_busy"] = True
    said = list(remarks(old, new))
    assert said[0].startswith("numpy was ")
    assert said[1:] == [
        "only in the old record, not compared: b",
        "only in the new record, not compared: c",
        "1 of 2 rows of the new record are of a busy machine (--busy)",
    ]


def test_rows_of_other_networks_are_told_and_not_compared() -> None:
    old, new = _record(a=1.0, b=1.0, c=1.0), _record(a=9.0, b=1.0, c=1.0)
    for record, network in ((old, "lite"), (new, "fast")):
        record["rows"]["a"]["about"]["network"] = network
    new["rows"]["b"]["about"]["network"] = "fast"  # records of before did not tell
    assert sorted(change.name for change in changes(old, new)) == ["b", "c"]
    assert "a was of lite, is of fast: not compared" in remarks(old, new)
    with pytest.raises(ConfigError, match="of the same network"):
        changes({**old, "rows": {"a": old["rows"]["a"]}}, new)


class _Asleep:
    """A backend that waits before each call: the slow-down that is planted."""

    def __init__(self, backend: Backend, seconds: float) -> None:
        self._backend, self._seconds = backend, seconds

    def labels(self, windows: Any) -> Any:
        time.sleep(self._seconds)
        return self._backend.labels(windows)


def _measured(folder: Path, backend: Any, windows: Any) -> str:
    """A record of one row, measured as the suite does it."""
    yardstick, seconds = Yardstick(), []
    backend.labels(windows)
    for _ in range(ROUNDS):
        yardstick.measure(1)
        start = time.perf_counter()
        backend.labels(windows)
        seconds.append(time.perf_counter() - start)
    suite = Suite(folder=folder)
    row = {"median": sorted(seconds)[ROUNDS // 2], "min": min(seconds), "rounds": ROUNDS}
    suite.add("a window", {"seconds": row, "yardstick_seconds": yardstick.summary(), "about": {}})
    return str(suite.path)


def test_a_sleep_in_a_backend_is_found_and_the_same_code_passes(tiny_bundle_path: Path, tmp_path: Path) -> None:
    """Real times of a tiny network. The same code is allowed much here, for the machine that tests may be busy."""
    backend = open_backend("ort", read_bundle(tiny_bundle_path), "float32")
    windows = np.random.default_rng(0).standard_normal((1, 4, 48, 48, 48), dtype=np.float32)
    old = _measured(tmp_path / "old", backend, windows)
    again = _measured(tmp_path / "again", backend, windows)
    slow = _measured(tmp_path / "slow", _Asleep(backend, 25.0 * _median_seconds(old)), windows)
    assert main([old, again, "--tolerance", "4"]) == 0
    assert main([old, slow, "--tolerance", "4"]) == 1


def _median_seconds(path: str) -> float:
    record = json.loads(Path(path).read_text())
    return float(record["rows"]["a window"]["seconds"]["median"])
