"""What a data set is made of: every case in numbers, and the set in sums. Nothing is drawn here."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from ssa_fast.labels import LABEL_NAMES, MODALITIES, REGIONS
from ssa_fast.prepare.problems import Problem, check_brain
from ssa_fast.prepare.suspects import Likeness, Repeat, Swap, likeness, suspected_repeats, suspected_swap
from ssa_fast.volume.case import CaseFiles
from ssa_fast.volume.geometry import LabelArray, spacing_mm, to_ras

__all__ = ["CaseFacts", "DataSet", "Intensities", "describe_case", "description_to_json", "description_to_text"]

_PERCENTILES = (1, 50, 99)
_SPACING_DIGITS = 4  # headers hold 0.99999994


@dataclass(frozen=True, kw_only=True)
class Intensities:
    """One modality of one case over its brain, in the units of its file."""

    least: float
    p1: float
    median: float
    p99: float
    most: float
    mean: float
    deviation: float
    negative_share: float  # of the brain's voxels


@dataclass(frozen=True, kw_only=True)
class CaseFacts:
    """One case in numbers."""

    name: str
    shape: tuple[int, int, int]  # in the axes of the files, X Y Z
    spacing_mm: tuple[float, float, float]
    orientation: str  # where those axes run to, such as RAS
    voxel_types: Mapping[str, str]  # modality -> type in its file
    brain_shape: tuple[int, int, int]  # of the box around the brain, in RAS
    brain_ml: float
    intensities: Mapping[str, Intensities]  # a modality
    label_values: tuple[int, ...] | None  # as they stand in the reference; None without one
    label_ml: Mapping[str, float] | None  # NCR ED ET
    region_ml: Mapping[str, float] | None  # WT TC ET
    swap: Swap | None  # modalities that are likely mixed up


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The cases that could be read, what they have in common, and what keeps the others out."""

    cases: tuple[CaseFacts, ...]
    repeats: tuple[Repeat, ...]
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(
        cls, cases: Sequence[CaseFacts], brains: Mapping[str, Likeness], problems: Sequence[Problem] = ()
    ) -> DataSet:
        """The set of these cases; each pair of their brains is compared."""
        return cls(cases=tuple(cases), repeats=tuple(suspected_repeats(brains)), problems=tuple(problems))

    @property
    def labelled(self) -> tuple[CaseFacts, ...]:
        """The cases with a reference."""
        return tuple(case for case in self.cases if case.label_ml is not None)

    def counts(self, fact: str) -> dict[str, int]:
        """How many cases have each value of a fact such as `shape`, the most frequent first."""
        joint = " " if fact == "label_values" else " x "
        return dict(Counter(_in_words(getattr(case, fact), joint) for case in self.cases).most_common())

    def volumes_ml(self, target: str) -> list[float]:
        """The volume of a label or region in each labelled case."""
        return [{**(case.label_ml or {}), **(case.region_ml or {})}[target] for case in self.labelled]

    def balance(self) -> dict[str, dict[str, float]]:
        """A label -> its share of all brain voxels and of all tumour, and the number of cases that have none of it.

        Shares are of volumes; `background` is brain without a label. Empty without labelled cases.
        """
        brain = sum(case.brain_ml for case in self.labelled)
        tumor = sum(self.volumes_ml("WT"))
        if not brain:
            return {}
        result = {"background": {"of_brain": 1 - tumor / brain}}
        for name in LABEL_NAMES.values():
            volumes = self.volumes_ml(name)
            result[name] = {
                "of_brain": sum(volumes) / brain,
                "of_tumor": sum(volumes) / tumor if tumor else 0.0,
                "cases_without": volumes.count(0),
            }
        return result


def describe_case(files: CaseFiles) -> tuple[CaseFacts, Likeness] | list[Problem]:
    """A case in numbers and what its brain is compared by, or all that keeps it from being read.

    It needs no reference, and its voxels may be of any size.
    """
    found = check_brain(files, for_training=False)
    if isinstance(found, list):
        return found
    checked, brain = found
    grid = checked.case.grid
    voxel_ml = float(abs(np.linalg.det(grid.affine[:3, :3]))) / 1000
    labels: LabelArray | None = None
    ml: dict[str, float] | None = None
    if checked.reference is not None:
        labels = np.asarray(to_ras(checked.reference.array, grid.affine)[brain.box.slices], dtype=np.uint8)
        counts = np.bincount(checked.reference.array.ravel(order="K"), minlength=1 + max(LABEL_NAMES))
        ml = {name: float(counts[label]) * voxel_ml for label, name in LABEL_NAMES.items()}
    x, y, z = grid.array.shape
    facts = CaseFacts(
        name=files.name,
        shape=(x, y, z),
        spacing_mm=_rounded(spacing_mm(grid.affine)),
        orientation="".join(nibabel.aff2axcodes(grid.affine)),
        voxel_types={
            modality: str(volume.header.get_data_dtype())
            for modality, volume in zip(MODALITIES, checked.case.volumes, strict=True)
        },
        brain_shape=brain.box.shape,
        brain_ml=float(np.count_nonzero(brain.foreground)) * voxel_ml,
        intensities={
            modality: _intensities(volume.array)
            for modality, volume in zip(MODALITIES, checked.case.volumes, strict=True)
        },
        label_values=checked.label_values if ml is not None else None,
        label_ml=ml,
        region_ml=_regions(ml) if ml is not None else None,
        swap=suspected_swap(brain, labels),
    )
    return facts, likeness(brain)


def description_to_json(data: DataSet, version: str) -> dict[str, Any]:
    """Plain values (JSON types) of a data set; `version` is that of ssa-fast."""
    targets = [*LABEL_NAMES.values(), *(region for region in REGIONS if region not in LABEL_NAMES.values())]
    return {
        "ssa_fast": version,
        "cases": len(data.cases),
        "cases_with_reference": len(data.labelled),
        "shapes": data.counts("shape"),
        "spacings_mm": data.counts("spacing_mm"),
        "orientations": data.counts("orientation"),
        "label_values": data.counts("label_values"),
        "intensities": {modality: _set_intensities(data, modality) for modality in MODALITIES} if data.cases else {},
        "volumes_ml": {target: _spread(data.volumes_ml(target)) for target in targets} if data.labelled else {},
        "class_balance": data.balance(),
        "suspected_repeats": [dataclasses.asdict(repeat) for repeat in data.repeats],
        "suspected_swaps": {case.name: dataclasses.asdict(case.swap) for case in data.cases if case.swap is not None},
        "problems": [dataclasses.asdict(problem) for problem in data.problems],
        "by_case": {case.name: _without_name(case) for case in data.cases},
    }


def description_to_text(data: DataSet) -> str:
    """The set in some twenty lines: what it has in common, its tumours, and what looks wrong."""
    lines = [f"{len(data.cases)} cases, {len(data.labelled)} with a reference"]
    for title, fact in (("shape", "shape"), ("spacing, mm", "spacing_mm"), ("orientation", "orientation")):
        said = ", ".join(f"{value} ({count})" for value, count in data.counts(fact).items())
        lines.append(f"{title:14}{said}")
    if data.cases:
        lines += ["", "brain medians  " + "".join(f"{head:>10}" for head in ("least", "median", "most"))]
        for modality in MODALITIES:
            lines.append(f"  {modality:13}" + _columns([case.intensities[modality].median for case in data.cases]))
    if data.labelled:
        heads = "".join(f"{head:>10}" for head in ("least", "median", "most", "of brain", "of tumor", "absent in"))
        lines += ["", f"volumes, ml    {heads}"]
        balance = data.balance()
        for name in LABEL_NAMES.values():
            shares = balance[name]
            said = f"{shares['of_brain']:10.2%}{shares['of_tumor']:10.1%}{shares['cases_without']:>10}"
            lines.append(f"  {name:13}{_columns(data.volumes_ml(name))}{said}")
        lines.append(f"  {'WT':13}{_columns(data.volumes_ml('WT'))}{1 - balance['background']['of_brain']:10.2%}")
    lines += ["", *_repeat_lines(data), *_swap_lines(data)]
    return "\n".join(lines)


def _repeat_lines(data: DataSet) -> list[str]:
    if not data.repeats:
        return ["suspected repeat patients: none"]
    lines = ["suspected repeat patients (keep them in one fold):"]
    for repeat in data.repeats:
        names = ", one number" if repeat.same_name else ""
        lines.append(f"  {' and '.join(repeat.cases)}: brains correlate by {repeat.correlation:.2f}{names}")
    return lines


def _swap_lines(data: DataSet) -> list[str]:
    lines = []
    for case in data.cases:
        if case.swap is not None:
            mends = " or ".join(f"{one} with {other}" for one, other in case.swap.mends)
            guess = f"swapped: {mends}?" if mends else "no swap of two mends it: look at the images"
            lines.append(f"  {case.name}: {'; '.join(case.swap.broken)}: {guess}")
    bare = len(data.cases) - len(data.labelled)
    note = f" (cases without a reference: {bare}; there only t2w is told from the others)" if bare else ""
    return [f"suspected swapped modalities{note}:", *lines] if lines else [f"suspected swapped modalities: none{note}"]


def _intensities(array: npt.NDArray[np.generic]) -> Intensities:
    voxels = array.ravel(order="K")  # as in memory: a mask over a Fortran array is slow otherwise
    values = voxels[voxels != 0].astype(np.float64)
    p1, median, p99 = (float(value) for value in np.percentile(values, _PERCENTILES))
    return Intensities(
        least=float(values.min()),
        p1=p1,
        median=median,
        p99=p99,
        most=float(values.max()),
        mean=float(values.mean()),
        deviation=float(values.std()),
        negative_share=float(np.count_nonzero(values < 0)) / values.size,
    )


def _regions(ml: Mapping[str, float]) -> dict[str, float]:
    return {region: sum(ml[LABEL_NAMES[label]] for label in labels) for region, labels in REGIONS.items()}


def _set_intensities(data: DataSet, modality: str) -> dict[str, Any]:
    own = [case.intensities[modality] for case in data.cases]
    return {
        "median": _spread([values.median for values in own]),
        "deviation": _spread([values.deviation for values in own]),
        "cases_with_negative": sum(values.negative_share > 0 for values in own),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"least": min(values), "median": statistics.median(values), "most": max(values)}


def _columns(values: Sequence[float]) -> str:
    return "".join(f"{value:10.1f}" for value in _spread(values).values())


def _without_name(case: CaseFacts) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(case).items() if key != "name"}


def _rounded(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (round(value, _SPACING_DIGITS) for value in values)
    return x, y, z


def _in_words(value: object, joint: str) -> str:
    if value is None:
        return "none"
    return joint.join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)
