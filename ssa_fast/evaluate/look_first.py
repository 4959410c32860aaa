"""Which cases a person should look at first, by the records of `infer --uncertainty`, and how well that order did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssa_fast.evaluate.page_facts import read_provenance
from ssa_fast.evaluate.scores import CaseScores
from ssa_fast.infer.doubt import Doubt
from ssa_fast.labels import REGIONS

__all__ = ["NO_RECORDS", "Look", "LookFirst", "look_first", "look_first_json", "look_first_rows", "look_first_words"]

NO_RECORDS = "Which cases to look at first is not known: no record of 'infer --uncertainty' is beside the predictions."

_MEASURES = {"agreement": "agreement of votes", "expected_dice": "expected Dice"}  # the first that all cases have
_FALLBACK = "expected_dice"  # every record of doubt has it
_LEAST_CASES = 3  # of a correlation
_MANY_CASES = 10  # of fewer, a correlation may be anything by chance


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the record of one case says of it."""

    name: str
    regions: Mapping[str, float | None]  # WT TC ET; None: nothing of it was found
    flagged: tuple[str, ...]  # regions that the record names
    dice: float | None  # mean over WT, TC and ET; None without a score
    is_empty: bool = False  # no tumour was found, which no number of its regions tells

    @property
    def value(self) -> float:
        """The least over the regions; 0 where no tumour was found: votes that see nothing agree."""
        return 0.0 if self.is_empty else min((it for it in self.regions.values() if it is not None), default=1.0)

    @property
    def rank(self) -> tuple[bool, float, str]:
        """The most doubtful first, and before all where no tumour was found: a glioma was missed, or is none."""
        return not self.is_empty, self.value, self.name


@dataclass(frozen=True, kw_only=True)
class LookFirst:
    """Cases in the order in which they should be looked at, the most doubtful first."""

    measure: str  # agreement or expected_dice, as in the records
    looks: tuple[Look, ...]
    unknown: tuple[str, ...] = ()  # cases without a record of doubt

    @property
    def empty(self) -> tuple[str, ...]:
        """Cases in which no tumour was found."""
        return tuple(look.name for look in self.looks if look.is_empty)

    @property
    def scored(self) -> tuple[Look, ...]:
        """Those that have a Dice, in the same order."""
        return tuple(look for look in self.looks if look.dice is not None)

    @property
    def correlation(self) -> float | None:
        """Spearman's, of the values with the mean Dice; None of fewer than 3 cases, or where all tie."""
        if len(self.scored) < _LEAST_CASES:
            return None
        doubt, dice = (_ranks(values) for values in zip(*((one.value, one.dice) for one in self.scored), strict=True))
        if doubt.std() == 0 or dice.std() == 0:
            return None
        return float(np.corrcoef(doubt, dice)[0, 1])

    @property
    def third(self) -> int:
        """A third of the scored cases, rounded up: how many are looked at, and how many are called the worst."""
        return math.ceil(len(self.scored) / 3)

    @property
    def worst(self) -> tuple[str, ...]:
        """The third of lowest mean Dice, the worst first."""
        order = sorted(self.scored, key=lambda look: (look.dice, look.name))
        return tuple(look.name for look in order[: self.third])

    @property
    def worst_found(self) -> int:
        """How many of the worst third are in the first third of the order."""
        first = {look.name for look in self.scored[: self.third]}
        return len(first & set(self.worst))


def look_first(predictions: Mapping[str, Path], cases: Sequence[CaseScores]) -> LookFirst | None:
    """The order of `predictions` (case -> label map), by the records that vouch for them; None if none has one.

    Those in which no tumour was found, then by the least agreement of votes over the regions, or where a record has
    none by the least expected Dice, for all.
    `cases` are those with scores.
    """
    doubts: dict[str, Any] = {}
    flagged: dict[str, tuple[str, ...]] = {}
    for name, path in predictions.items():
        known = read_provenance(path, name)
        doubt = known.table("doubt")
        if isinstance(doubt.get(_FALLBACK), dict):
            doubts[name], flagged[name] = doubt, known.words("look_first")
    if not doubts:
        return None
    measure = next((it for it in _MEASURES if all(doubt.get(it) for doubt in doubts.values())), _FALLBACK)
    dice = {case.name: case.mean_dice for case in cases}
    looks = [
        Look(
            name=name,
            regions={region: its[measure].get(region) for region in REGIONS},
            flagged=flagged[name],
            dice=dice.get(name),
            is_empty=Doubt(expected_dice=its[_FALLBACK], agreement={}).is_empty,
        )
        for name, its in doubts.items()
    ]
    return LookFirst(
        measure=measure,
        looks=tuple(sorted(looks, key=lambda look: look.rank)),
        unknown=tuple(name for name in predictions if name not in doubts),
    )


def look_first_words(found: LookFirst) -> list[str]:
    """What the order is by, and how well it did where there are scores; a sentence or two each."""
    by = f"the least {_MEASURES[found.measure]} over WT, TC and ET in the records of 'infer'"
    said = [f"The order is by {by}. It ranks cases and stands for no Dice."]
    if found.empty:
        said.append(f"Before all, for no tumour was found in them: {', '.join(found.empty)}.")
    if found.unknown:
        said.append(f"Not in it, without a record of 'infer --uncertainty': {', '.join(found.unknown)}.")
    if not found.scored:
        return said
    count, third = len(found.scored), found.third
    correlation = found.correlation
    rank = "no correlation can be said" if correlation is None else f"Spearman's correlation {correlation:+.2f}"
    flagged = [look.name for look in found.scored if look.flagged]
    share = (
        f"of the {third} worst cases {found.worst_found} are among the first {third} (by chance {third**2 / count:.1f})"
    )
    if third == 1:
        share = f"the worst case is {'' if found.worst_found else 'not '}the first"
    few = "" if count >= _MANY_CASES else " So few cases say little of the order."
    said.append(
        f"How well it did on {count} cases with a reference: {rank} with the mean Dice; {share}. The limits of 'infer' "
        f"flag {len(flagged)} cases, among them {len(set(flagged) & set(found.worst))} of the {third} worst.{few}"
    )
    return said


def look_first_rows(found: LookFirst) -> list[list[str]]:
    """A head, then a row a case in the order."""
    head = ["case", *(f"{region} {_MEASURES[found.measure].split()[0]}" for region in REGIONS), "flagged", "mean Dice"]
    rows = []
    for look in found.looks:
        values = ["-" if value is None else f"{value:.3f}" for value in look.regions.values()]
        dice = "-" if look.dice is None else f"{look.dice:.3f}"
        rows.append([look.name, *values, " ".join(look.flagged) or "-", dice])
    return [head, *rows]


def look_first_json(found: LookFirst) -> dict[str, Any]:
    """Plain values (JSON types): the order, and how well it did; null where that cannot be said."""
    return {
        "measure": found.measure,
        "order": [
            {"case": look.name, "regions": dict(look.regions), "flagged": list(look.flagged), "mean_dice": look.dice}
            for look in found.looks
        ],
        "cases_without_tumor": list(found.empty),
        "cases_without_record": list(found.unknown),
        "spearman": found.correlation,
        "third": found.third,
        "worst": list(found.worst),
        "worst_among_first": found.worst_found if found.scored else None,
    }


def _ranks(values: Sequence[float]) -> Any:
    """The rank of each, equal values sharing theirs."""
    own = np.asarray(values, dtype=np.float64)
    return (own[:, None] > own).sum(axis=1) + (own[:, None] == own).sum(axis=1) / 2
