"""How close one form of a network comes to another, as a record that travels with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ssa_fast.errors import ConfigError, ParityError

__all__ = ["Limits", "Parity"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is allowed to a form of a network before it is trusted."""

    label_agreement: float = 0.999  # least share of a brain's voxels with equal labels, in the worst case
    dice_change: float = 0.005  # most that the mean Dice of a region against the references may move
    logit_error: float | None = None  # largest; None: held by labels alone

    def __post_init__(self) -> None:
        if not 0 <= self.label_agreement <= 1:
            raise ConfigError(f"label_agreement must be in [0, 1], got {self.label_agreement}")
        if self.dice_change < 0 or (self.logit_error is not None and self.logit_error < 0):
            raise ConfigError(f"no limit may be below 0, got {self.dice_change} and {self.logit_error}")


@dataclass(frozen=True, kw_only=True)
class Parity:
    """A candidate held against a reference on the same brains, and what was allowed."""

    reference: str  # what it was compared with
    candidate: str  # what ran it
    cases: tuple[str, ...]
    label_agreement: float  # least share of a brain's voxels with equal labels over the cases
    mean_logit_error: float  # over all voxels and cases
    largest_logit_error: float
    dice_between: Mapping[str, float]  # a region: mean Dice of the candidate's labels with the reference's
    dice_change: Mapping[str, float] = field(default_factory=dict)  # a region: mean Dice, candidate less reference,
    # against the cases' own segmentations; empty where none has one
    limits: Limits = Limits()

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """What lies beyond the limits, each with what was seen and what was wanted; none: the candidate passes."""
        found, allowed = [], self.limits
        if not math.isfinite(self.largest_logit_error):
            found.append(f"its largest logit error is {self.largest_logit_error}")
        if not self.label_agreement >= allowed.label_agreement:
            seen = f"{self.label_agreement:.4%} of a brain's voxels"
            found.append(f"equal labels on {seen}, wanted {allowed.label_agreement:.2%}")
        if allowed.logit_error is not None and not self.largest_logit_error <= allowed.logit_error:
            found.append(f"largest logit error {self.largest_logit_error:.3g}, wanted {allowed.logit_error:g}")
        found += [
            f"mean Dice of {region} changed by {change:+.4f}, allowed {allowed.dice_change:g}"
            for region, change in self.dice_change.items()
            if not abs(change) <= allowed.dice_change
        ]
        return tuple(found)

    @property
    def has_passed(self) -> bool:
        """Whether everything is within the limits."""
        return not self.shortcomings

    def check(self, consequence: str) -> None:
        """Raises ParityError, ending in `consequence`, unless everything is within the limits."""
        if not self.has_passed:
            names = self.cases[0] if len(self.cases) == 1 else f"{len(self.cases)} cases"
            raise ParityError(
                f"{self.candidate} is not {self.reference} on {names}: {'; '.join(self.shortcomings)}: {consequence}"
            )

    def __str__(self) -> str:
        names = f"case {self.cases[0]}" if len(self.cases) == 1 else f"{len(self.cases)} cases"
        worst = max((abs(change) for change in self.dice_change.values()), default=None)
        dice = (
            f"mean Dice of a region changed by at most {worst:.4f}"
            if worst is not None
            else f"Dice with the reference's labels {min(self.dice_between.values(), default=1.0):.4f} at least"
        )
        return (
            f"{names}: at least {self.label_agreement:.4%} of brain voxels with equal labels, {dice}, "
            f"logits off by at most {self.largest_logit_error:.4f} ({self.candidate})"
        )
