"""How far an answer is to be trusted, a number a region: by its own probabilities, and by its votes' agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Doubt"]

_LEAST_AGREEMENT = 0.93
_LEAST_EXPECTED = 0.95


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Numbers a region (WT, TC, ET) that rank cases; no estimate of Dice, for nothing here is calibrated.

    Measured with `lite` on the fifteen shared cases, of which it has not seen three, a region each (45, 9 unseen):

    | | above the real Dice, mean | on the unseen | correlation with it | on the unseen |
    |---|---|---|---|---|
    | `expected_dice`, one vote | 0.07 | 0.18 | 0.60 | 0.39 |
    | `agreement`, mirrored along x | 0.06 | 0.13 | 0.85 | 0.75 |
    | `agreement`, mirrored along x, y and z | 0.06 | 0.13 | 0.92 | 0.89 |

    A line fitted to agreement (x), each case left out in turn, missed the unseen by 0.13 on average, as agreement does
    without a fit: three cases carry none.
    """

    expected_dice: Mapping[str, float | None]  # if the probabilities were true; None: nothing of it was found
    agreement: Mapping[str, float]  # mean Dice between two votes, 1 where none sees any; empty for a single vote

    @property
    def look_first(self) -> tuple[str, ...]:
        """Regions to look at first: votes agree by less than 0.93, or of a single vote less than 0.95 is expected.

        Both limits were chosen on those 45 regions: 10 and 12 are held back, among them all 8 of a Dice below 0.85.
        """
        if self.agreement:
            return tuple(name for name, value in self.agreement.items() if value < _LEAST_AGREEMENT)
        return tuple(
            name for name, value in self.expected_dice.items() if value is not None and value < _LEAST_EXPECTED
        )

    def __str__(self) -> str:
        expected = ", ".join(
            f"{name} {'-' if value is None else f'{value:.2f}'}" for name, value in self.expected_dice.items()
        )
        text = f"expected Dice {expected}"
        if self.agreement:
            text += f"; votes agree {', '.join(f'{name} {value:.2f}' for name, value in self.agreement.items())}"
        return text + (f"; look at this first: {' '.join(self.look_first)}" if self.look_first else "")
