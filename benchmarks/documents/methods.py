"""Tables of how things are done, as the code has it: what is scored, who is held out."""

from __future__ import annotations

from benchmarks.documents.records import ROOT, Records, table
from ssa_fast.config import load_toml
from ssa_fast.metrics.profiles import PROFILES
from ssa_fast.train.splits import Splits

__all__ = ["folds", "profiles"]


def profiles(_records: Records) -> str:
    """What `evaluate --metrics` measures, by profile."""
    rows = (
        (f"`{name}`", ", ".join(profile.targets), ", ".join(f"`{measure}`" for measure in profile.measures))
        for name, profile in PROFILES.items()
    )
    return table(("profile", "of", "measures"), rows)


def folds(_records: Records) -> str:
    """The shipped lists of folds."""
    rows = []
    for file in sorted((ROOT / "data/splits").glob("*.toml")):
        for fold, cases in enumerate(load_toml(Splits, file).folds):
            numbers = ", ".join(case.removeprefix("BraTS-SSA-").removesuffix("-000") for case in cases)
            rows.append((f"`{file.name}`", fold, numbers))
    return table(("file", "fold", "cases (BraTS-SSA-...-000)"), rows)
