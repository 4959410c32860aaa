"""What is done with a case before the network sees it: brought to 1 mm, and looked at for what cannot be right."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from ssa_fast.errors import CaseError
from ssa_fast.volume.case import Case, check_voxels, errors_of_case
from ssa_fast.volume.preprocess import Brain
from ssa_fast.volume.resample import Resampled, to_1_mm
from ssa_fast.volume.sanity import suspicions

__all__ = ["Intake"]

_THICK_MM = 1.5  # from here on a warning: what lies between slices was not seen by the scanner
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Intake:
    """How cases are taken in."""

    is_forced: bool = False  # segment a case of which something is suspected
    resample: Literal["auto", "never"] = "auto"  # voxels that are not 1 mm

    def resampled(self, case: Case) -> Resampled | None:
        """The case in voxels of 1 mm, or None if it is so already.

        Raises CaseError for other voxels where nothing may be resampled, and for ones that cannot be.
        """
        if self.resample == "never":
            with errors_of_case(case.name):
                check_voxels(case.grid)
            return None
        resampled = to_1_mm(case)
        if resampled is not None and max(resampled.spacing_mm) > _THICK_MM:
            words = " x ".join(f"{edge:.3g}" for edge in resampled.spacing_mm)
            _log.warning(
                "case %s: voxels of %s mm are resampled to 1 mm, as the network was trained on: expect less of it",
                case.name,
                words,
            )
        return resampled

    def checked(self, case: Case, brain: Brain) -> tuple[str, ...]:
        """What is suspected of a case and overridden: nothing for a sound one.

        Raises CaseError, with all that is suspected in one line, unless it `is_forced`.
        """
        found = suspicions(case, brain)
        if not found:
            return ()
        if not self.is_forced:
            raise CaseError(f"case {case.name}: {'; '.join(map(str, found))}; --force segments it all the same")
        for one in found:
            _log.warning("case %s: segmented all the same, by --force: %s", case.name, one.seen)
        return tuple(one.seen for one in found)
