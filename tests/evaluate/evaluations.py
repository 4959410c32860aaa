"""Evaluations made of numbers, for tests of what is done with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssa_fast.evaluate.scores import CaseScores, Evaluation
from ssa_fast.metrics.profiles import Profile


def in_profile(profile: Profile, **numbers: float) -> Evaluation:
    """A case a name, whose every measure of every target is the same number, as is its tumour's volume times 100."""
    cases = [
        CaseScores(
            name=name,
            reference=Path("r.nii.gz"),
            prediction=Path("p.nii.gz"),
            tumor_ml=100 * number,
            confusion=np.zeros((4, 4), dtype=np.int64),
            scores={target: dict.fromkeys(profile.measures, number) for target in profile.targets},
        )
        for name, number in numbers.items()
    ]
    return Evaluation(profile=profile, cases=tuple(cases), failures={}, unmatched=())
