"""Tables of what several looks at a case, and what is mended in its labels, are worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.documents.records import Records, fixed, regions, table
from ssa_fast.volume.postprocess import POSTPROCESSING, Postprocessing

__all__ = ["doubt", "mended", "mirrored", "together"]

_DICE = "Dice WT / TC / ET"


def mirrored(records: Records, record: str = "quality") -> str:
    """How mirroring changes the mean Dice, by axes."""
    cases = records[record]["cases"].values()
    rows = []
    for axes in (key for key in next(iter(cases))["dice"] if key != "none"):
        changes = []
        for unseen in (True, False):
            dice = [(case["dice"][axes], case["dice"]["none"]) for case in cases if case["unseen"] == unseen]
            mean = np.mean([np.subtract(*pair) for pair in dice], axis=0)
            changes.append(regions(mean.tolist()))
        rows.append((f"`{axes}`", 2 ** len(axes), *changes))
    return table(("`--mirror`", "votes", f"change of mean {_DICE}, unseen cases", "cases that it was trained on"), rows)


def together(records: Records) -> str:
    """Networks alone, and their votes together."""
    ensemble = records["quality"]["ensemble_fold0_mean_dice"]
    return table(("networks", f"{_DICE}, mean of fold 0"), ((name, regions(dice)) for name, dice in ensemble.items()))


def doubt(records: Records, record: str = "quality") -> str:
    """How the two numbers of `--uncertainty` go with the real Dice, a region each."""
    rows = []
    for name, key, votes in (("expected Dice", "expected_dice", "none"), ("agreement along x", "agreement", "x")):
        columns: list[list[str]] = []
        for groups in ((True, False), (True,)):
            cases = [case for case in records[record]["cases"].values() if case["unseen"] in groups]
            said: npt.NDArray[np.float64] = np.array([case[key][votes] for case in cases]).ravel()
            real: npt.NDArray[np.float64] = np.array([case["dice"][votes] for case in cases]).ravel()
            columns.append([fixed((said - real).mean(), 2), fixed(np.corrcoef(said, real)[0, 1], 2)])
        everywhere, unseen = columns
        rows.append((name, everywhere[0], unseen[0], everywhere[1], unseen[1]))
    head = ("number", "above the real Dice, mean", "on unseen cases", "correlation with it", "on unseen cases")
    return table(head, rows)


def mended(records: Records) -> str:
    """What each postprocessing profile does, and the Dice of voxels with it."""
    rows = [
        (f"`{name}`", _words(profile), *(_voxel_dice(records, name, group) for group in ("unseen", "trained_on")))
        for name, profile in POSTPROCESSING.items()
    ]
    return table(("profile", "does", f"mean {_DICE} of voxels, unseen cases", "cases that it was trained on"), rows)


def _voxel_dice(records: Records, profile: str, group: str) -> str | None:
    by_lesion = records["lesions"][group].get(profile)
    if by_lesion:
        return regions({name: of["dice"] for name, of in by_lesion.items()})
    means = records["quality"]["postprocessing_mean_dice"].get(profile)
    return regions(means["fold0" if group == "unseen" else "seen"]) if means else None


def _words(profile: Postprocessing) -> str:
    said = [
        (profile.is_largest_alone, "of the tumour's parts only the largest stays"),
        (profile.least_part_ml, f"parts of the tumour below {profile.least_part_ml:g} ml go"),
        (profile.fills_holes, "what the core encloses is core, what the tumour encloses is tumour"),
        (profile.least_core_part_ml, f"parts of the core below {profile.least_core_part_ml:g} ml are oedema"),
        (profile.least_et_part_ml, f"parts of the enhancing tumour below {profile.least_et_part_ml:g} ml are necrosis"),
        (profile.least_et_ml, f"enhancing tumour of less than {profile.least_et_ml:g} ml in all is necrosis"),
    ]
    return "; ".join(words for is_done, words in said if is_done) or "nothing"
