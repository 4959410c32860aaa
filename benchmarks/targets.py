"""What was asked, what was measured, and for a card that is not here what follows from its vendor's figures.

    python -m benchmarks.targets [RECORDS]

A projection is no measurement: the network's arithmetic at the card's peak, divided by the share of its peak that the
network was seen to take elsewhere. It stands or falls with its assumption, which is printed beside it.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.records import NEWEST, find, read_record
from ssa_fast.config import load_toml
from ssa_fast.errors import ConfigError
from ssa_fast.hardware import CARDS
from ssa_fast.model.roofline import BYTES_PER_VALUE, card_ceiling, network_roofline
from ssa_fast.model.spec import PRESETS
from ssa_fast.train.config import TrainConfig
from ssa_fast.train.memory import fit_memory, planned_memory

__all__ = ["Finding", "MemoryPlan", "Projection", "Target", "Targets", "finding", "known", "load_targets", "table"]

PATCH = (128, 128, 128)
_FILE = Path(__file__).with_name("targets.toml")

Way = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What a time on a card is reckoned from."""

    card: str
    network: str
    precision: str
    record: str  # with the share of a peak that is assumed
    share: Way

    def __post_init__(self) -> None:
        if self.card not in CARDS or self.network not in PRESETS or self.precision not in BYTES_PER_VALUE:
            raise ConfigError(
                f"no such card, network or precision: {self.card}, {self.network}, {self.precision}; cards are "
                f"{', '.join(CARDS)}"
            )


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What the memory of training is reckoned from, in float32."""

    network: Literal["reference", "lite"]
    patch: tuple[int, int, int]
    budget_gb: float


@dataclass(frozen=True, kw_only=True)
class Target:
    """One number that was asked for: at most, or at least."""

    what: str
    unit: str
    source: str  # who asks
    at_most: float | None = None
    at_least: float | None = None
    record: str = ""  # name of the record that answers, and ways into it: of several the worst counts
    values: tuple[Way, ...] = ()
    scale: float = 1.0  # from the record's unit to this one
    projection: Projection | None = None
    plan: MemoryPlan | None = None

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ConfigError(f"'{self.what}' needs at_most or at_least, one of them")
        if bool(self.record) != bool(self.values) or not (self.record or self.projection or self.plan):
            raise ConfigError(f"'{self.what}' needs a record and values, a projection or a plan")

    @property
    def wanted(self) -> str:
        """In words."""
        return f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"

    def holds(self, value: float) -> bool:
        """Whether a value is as asked."""
        return value <= self.at_most if self.at_most is not None else value >= (self.at_least or 0)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """All of `targets.toml`."""

    targets: tuple[Target, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is known of one target."""

    target: Target
    kind: Literal["measured", "projected", "planned", "unknown"]
    value: float | None = None
    note: str = ""  # where it is from, or what it assumes

    @property
    def verdict(self) -> str:
        """met or missed where it was measured; what is reckoned says so."""
        if self.value is None:
            return "not measured"
        holds = self.target.holds(self.value)
        if self.kind == "measured":
            return "met" if holds else "missed"
        return f"{self.kind.upper()}: would be {'met' if holds else 'missed'}"


def load_targets(path: Path = _FILE) -> tuple[Target, ...]:
    """Raises ConfigError for a key that is not known, a value of the wrong type, or a target that asks for nothing."""
    return load_toml(Targets, path).targets


def finding(target: Target, records: Path) -> Finding:
    """Measured where a record of `records` has it, else reckoned where it can be.

    Raises ConfigError where a record is there and holds no number at the end of a way.
    """
    path = records / f"{target.record}.json"
    if target.record and path.is_file():
        values = [target.scale * find(read_record(path), way, path.name) for way in target.values]
        worst = max(values) if target.at_most is not None else min(values)
        return Finding(target=target, kind="measured", value=worst, note=path.name)
    if target.projection is not None:
        return _projected(target, target.projection, records)
    if target.plan is not None:
        return _planned(target, target.plan)
    return Finding(target=target, kind="unknown", note=f"no {path.name}")


def known(target: Target, records: Path) -> Finding:
    """As `finding`, but a record of a part of the benchmarks, without the number, leaves it unknown."""
    try:
        return finding(target, records)
    except ConfigError as error:
        return Finding(target=target, kind="unknown", note=str(error))


def table(findings: list[Finding]) -> str:
    """One line a target, and under the table what each projection assumes."""
    rows = [("target", "wanted", "found", "", "")]
    notes = []
    for one in findings:
        value = "-" if one.value is None else f"{one.value:.3g}"
        rows.append((one.target.what, one.target.wanted, value, one.target.unit, one.verdict))
        if one.kind != "measured" and one.note:
            notes.append(f"  {one.target.what}: {one.note}")
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", "not measured, but reckoned, under these assumptions:", *notes] if notes else lines)


def _projected(target: Target, given: Projection, records: Path) -> Finding:
    card = CARDS[given.card]
    path = records / f"{given.record}.json"
    roofline = network_roofline(PRESETS[given.network], PATCH, card_ceiling(card))
    floor = roofline.arithmetic_floor_ms(given.precision)
    if not path.is_file():
        return Finding(target=target, kind="unknown", note=f"floor {floor:.0f} ms on {card.name}; no {path.name}")
    share = find(read_record(path), given.share, path.name)
    milliseconds = floor / share
    value = 1e3 / milliseconds if target.unit == "a second" else milliseconds
    note = (
        f"floor {floor:.0f} ms on {card.name} by its vendor's figures ({card_ceiling(card).peaks[given.precision]:.3g} "
        f"FLOP/s), over the {share:.0%} of the peak that the network took of the processor of {path.name}; assumed is "
        "that it takes as much of the card's, which nobody has measured"
    )
    return Finding(target=target, kind="projected", value=value, note=note)


def _planned(target: Target, given: MemoryPlan) -> Finding:
    config = TrainConfig(preset=given.network, norm="preset", patch=given.patch, batch=1)
    fitted = fit_memory(config, value_bytes=4, budget_bytes=math.floor(1e9 * given.budget_gb))
    planned = planned_memory(fitted, 4).peak / 1e9
    note = (
        f"by the plan of training, {fitted.recomputed_levels} levels computed again; it was held against the tensors "
        "of an update on a processor, on no card, and workspaces of libraries are not in it"
    )
    return Finding(target=target, kind="planned", value=planned, note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="?", default=NEWEST)
    given = parser.parse_args()
    print(table([known(target, given.records) for target in load_targets()]))


if __name__ == "__main__":
    main()
