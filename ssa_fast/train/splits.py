"""Which cases are trained on and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssa_fast.config import load_toml
from ssa_fast.errors import ConfigError
from ssa_fast.volume.case import CaseFiles

__all__ = ["Split", "Splits", "count_folds", "split_cases"]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Case names by fold, as `data/splits/*.toml` hold them."""

    folds: tuple[tuple[str, ...], ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        names = [name for fold in self.folds for name in fold]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not all(self.folds):
            raise ConfigError(f"fold {self.folds.index(())} holds no cases: name some, or take it out")
        if twice:
            raise ConfigError(f"case {twice[0]} is in two folds: a case may be held out once only")


@dataclass(frozen=True, kw_only=True)
class Split:
    """The cases of one run."""

    training: Sequence[CaseFiles]
    held_out: Sequence[CaseFiles] = ()


def split_cases(cases: Sequence[CaseFiles], splits: Path | None, fold: int | None) -> Split:
    """All cases to train on, or all but those of one fold of the file `splits`, which are held out.

    Raises ConfigError for half of the two options, a fold that there is not, or held-out cases that were not given.
    """
    if (splits is None) != (fold is None):
        raise ConfigError("--splits and --fold belong together: give both, or neither to train on all cases")
    if splits is None or fold is None:
        return Split(training=cases)
    folds = _folds(splits)
    if not 0 <= fold < len(folds):
        raise ConfigError(f"--fold {fold}: {splits} has folds 0 to {len(folds) - 1}")
    held_out = set(folds[fold])
    missing = sorted(held_out - {files.name for files in cases})
    if missing:
        raise ConfigError(f"fold {fold} of {splits} holds out {', '.join(missing)}, not among the cases given")
    return Split(
        training=[files for files in cases if files.name not in held_out],
        held_out=[files for files in cases if files.name in held_out],
    )


def count_folds(splits: Path) -> int:
    """How many folds a file of splits has. Raises ConfigError for none, or a file that cannot be read."""
    return len(_folds(splits))


def _folds(splits: Path) -> tuple[tuple[str, ...], ...]:
    folds = load_toml(Splits, splits).folds
    if not folds:
        raise ConfigError(f"{splits}: holds no folds: write them as lists of case names, folds = [['A', 'B'], ['C']]")
    return folds
