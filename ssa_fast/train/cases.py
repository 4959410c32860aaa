"""The training cases of one run after the other, each read or made once."""

from __future__ import annotations

from ssa_fast.train.dataset import TrainingCase, load_training_case, phantom_training_case
from ssa_fast.train.progress import NOTICES
from ssa_fast.volume.case import CaseFiles

__all__ = ["CaseStore"]


class CaseStore:
    """Keeps what it has given, for runs whose cases are parts of the same: a copy of each, and no more."""

    def __init__(self) -> None:
        self._cases: dict[str, TrainingCase] = {}
        self._phantoms: dict[tuple[int, int], TrainingCase] = {}

    def case(self, files: CaseFiles) -> TrainingCase:
        """As `load_training_case`, read when first asked for; two cases may not have one name."""
        if files.name not in self._cases:
            self._cases[files.name] = load_training_case(files)
        return self._cases[files.name]

    def phantoms(self, seed: int, count: int) -> list[TrainingCase]:
        """The first `count` of the series that `seed` names; those that are not there yet take seconds each."""
        wanted = [(seed, index) for index in range(count)]
        missing = [place for place in wanted if place not in self._phantoms]
        if missing:
            NOTICES.info("making %d phantoms", len(missing))
        for place in missing:
            self._phantoms[place] = phantom_training_case(*place)
        return [self._phantoms[place] for place in wanted]
