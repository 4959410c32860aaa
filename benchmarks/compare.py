"""Two records of the suite side by side: is anything slower, larger or less right than it was?

    python -m benchmarks.compare OLD NEW [--tolerance 0.15]

Compared are times of the run's own yardstick (a plain torch convolution, measured beside each benchmark), not seconds:
those of a machine that is slower today are longer, and so is its yardstick. A row is slower only if its median and its
best round both are: one of them alone is chance. So the time of a row of fewer than three rounds is shown and not
judged. Exit code 1 if a row is worse, 2 if the records cannot be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.records import read_record
from benchmarks.suite import FORM
from ssa_fast.errors import ConfigError

__all__ = ["Change", "changes", "main", "remarks"]

TOLERANCE = 0.15  # two runs of one code on a virtual machine with two cores were up to 0.1 apart
LEAST_SECONDS = 0.002  # below it a clock's and a scheduler's grain is what is compared
LEAST_ROUNDS = 3  # below it the best round says little that the median does not
_MOST_LABELS_LOST = 0.001  # of label agreement
_SIZES = ("peak_bytes", "added_bytes")  # of a process of its own, and beyond what the benchmarks' held
_LEAST_BYTES = 20_000_000  # less depends on what lay free
_MUST_AGREE = ("cpu", "threads", "flags", "gpus")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One row in both records."""

    name: str
    old: float  # times the yardstick
    new: float
    ratio: float  # new over old, of medians
    best_ratio: float  # of best rounds
    rounds: int  # of the record that has fewer
    faults: tuple[str, ...] = ()

    @property
    def is_worse(self) -> bool:
        """Whether anything about it is."""
        return bool(self.faults)


def changes(old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float = TOLERANCE) -> list[Change]:
    """Every row that both have, of one network, the worst first.

    Raises ConfigError where the records are of different machines, yardsticks or forms, or have no row in common.
    """
    for word, record in (("old", old), ("new", new)):
        if record.get("form") != FORM:
            raise ConfigError(f"the {word} record is no '{FORM}': only records of the suite can be compared")
    if old["yardstick"] != new["yardstick"]:
        raise ConfigError(f"other yardsticks: {old['yardstick']}; {new['yardstick']}: run the old code again")
    for key in _MUST_AGREE:
        if old["machine"][key] != new["machine"][key]:
            raise ConfigError(
                f"other machines: {key} is {old['machine'][key]} and {new['machine'][key]}: what is fast beside a "
                "convolution on one is not on the other"
            )
    names = [name for name in old["rows"] if name in new["rows"] and _other_networks(name, old, new) is None]
    if not names:
        raise ConfigError("no row in common: run the same benchmarks of the same network")
    found = [_change(name, old["rows"][name], new["rows"][name], tolerance) for name in names]
    return sorted(found, key=lambda change: (-change.is_worse, -change.ratio))


def remarks(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What to know before the table is believed."""
    for package, version in old["machine"]["versions"].items():
        other = new["machine"]["versions"].get(package, "none")
        if other != version:
            yield f"{package} was {version}, is {other}"
    for word, one, other in (("only in the old", old, new), ("only in the new", new, old)):
        if alone := [name for name in one["rows"] if name not in other["rows"]]:
            yield f"{word} record, not compared: {', '.join(alone)}"
    for name in (name for name in old["rows"] if name in new["rows"]):
        if networks := _other_networks(name, old, new):
            yield f"{name} was of {networks[0]}, is of {networks[1]}: not compared"
    for word, record in (("old", old), ("new", new)):
        if busy := sum(bool(row["is_busy"]) for row in record["rows"].values()):
            yield f"{busy} of {len(record['rows'])} rows of the {word} record are of a busy machine (--busy)"


def _other_networks(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, str] | None:
    """The networks that a row was measured with, where both records tell and they are not the same."""
    was, now = (record["rows"][name]["about"].get("network") for record in (old, new))
    return (str(was), str(now)) if was and now and was != now else None


def _change(name: str, old: Mapping[str, Any], new: Mapping[str, Any], tolerance: float) -> Change:
    medians, bests = (_times(row, "median") for row in (old, new)), (_times(row, "min") for row in (old, new))
    (was, now), (best_was, best_now) = medians, bests
    ratio, best_ratio = now / was, best_now / best_was
    rounds = min(row["seconds"]["rounds"] for row in (old, new))
    is_judged = rounds >= LEAST_ROUNDS and new["seconds"]["median"] >= LEAST_SECONDS
    faults = []
    if is_judged and min(ratio, best_ratio) > 1 + tolerance:
        faults.append("slower")
    about = {key: (old["about"].get(key), new["about"].get(key)) for key in (*_SIZES, "label_agreement")}
    for had, has in (about[key] for key in _SIZES):
        if had and has and has > max((1 + tolerance) * had, had + _LEAST_BYTES):
            faults.append(f"larger: {had / 1e9:.2f} GB, now {has / 1e9:.2f}")
    faults += [f"no {key} any more" for key, (one, other) in about.items() if one is not None and other is None]
    agreed, agrees = about["label_agreement"]
    if agreed is not None and agrees is not None and agrees < agreed - _MOST_LABELS_LOST:
        faults.append(f"less right: {agreed:.3%} of labels, now {agrees:.3%}")
    return Change(name=name, old=was, new=now, ratio=ratio, best_ratio=best_ratio, rounds=rounds, faults=tuple(faults))


def _times(row: Mapping[str, Any], which: str) -> float:
    """Median by the yardstick's median, best round by its best call."""
    return float(row["seconds"][which] / row["yardstick_seconds"][which])


def _lines(found: list[Change]) -> Iterator[str]:
    width = max(len(change.name) for change in found)
    yield f"{'times the yardstick':{width}}  {'old':>9}  {'new':>9}  {'new/old':>7}  {'of best':>7}"
    for one in found:
        said = list(one.faults)
        if one.rounds < LEAST_ROUNDS:
            said.append(f"rounds: {one.rounds}, its time is not judged")
        yield (
            f"{one.name:{width}}  {one.old:9.3f}  {one.new:9.3f}  {one.ratio:7.2f}  {one.best_ratio:7.2f}  "
            f"{'; '.join(said)}".rstrip()
        )


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help="share by which a row may be slower or larger"
    )
    given = parser.parse_args(arguments)
    try:
        old, new = read_record(given.old), read_record(given.new)
        found = changes(old, new, given.tolerance)
    except ConfigError as error:
        print(f"cannot be compared: {error}", file=sys.stderr)
        return 2
    for line in (*remarks(old, new), *_lines(found)):
        print(line)
    worse = [one for one in found if one.is_worse]
    print(f"{len(worse)} of {len(found)} rows are worse than {given.tolerance:.0%} allow")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
