"""Whether two forms of one network give the same answer, measured on brains."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType, MappingProxyType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ssa_fast.backends import available_backends, open_backend
from ssa_fast.backends.base import Backend, Device
from ssa_fast.errors import BundleError, ShapeError
from ssa_fast.export.notices import NOTICES
from ssa_fast.labels import REGIONS
from ssa_fast.metrics.overlap import overlaps
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.parity import Limits, Parity
from ssa_fast.volume.case import Case, CaseFiles, read_case, read_reference
from ssa_fast.volume.geometry import BoolArray, FloatArray, LabelArray
from ssa_fast.volume.postprocess import labels_from_logits
from ssa_fast.volume.preprocess import crop_to_brain, pad_brain

__all__ = [
    "LIMITS",
    "Answer",
    "Proof",
    "answers_of",
    "compare",
    "fitted",
    "limits_for",
    "merged",
    "open_reference",
    "parities",
    "proof_of",
    "read_proofs",
]

Kind = TypeVar("Kind", bound=np.generic)

LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        "float32": Limits(label_agreement=0.999, dice_change=0.001),
        "float16": Limits(label_agreement=0.999, dice_change=0.002),
        "bf16": Limits(label_agreement=0.995, dice_change=0.002),
        "int8": Limits(label_agreement=0.99, dice_change=0.005),
    }
)
"""What is allowed where no profile says otherwise, by precision of the arithmetic or of the stored weights."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One brain on which forms of a network are compared."""

    name: str  # of the case
    windows: FloatArray  # (1, C, X, Y, Z), the padded brain box
    foreground: BoolArray  # (X, Y, Z), where the brain is in it
    truth: LabelArray | None = None  # (X, Y, Z), the case's own segmentation


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the reference makes of a proof."""

    proof: Proof
    logits: FloatArray  # (K, X, Y, Z)
    labels: LabelArray  # (X, Y, Z), 0 outside the brain


def proof_of(case: Case, divisor: int, truth: LabelArray | None = None) -> Proof:
    """A case as a network is given it: its brain box, edges padded to multiples of `divisor`.

    `truth` (X, Y, Z) is in RAS axes.
    """
    brain = crop_to_brain(case)
    windows, inner = pad_brain(brain, divisor)
    foreground = np.zeros(windows.shape[2:], dtype=np.bool_)
    foreground[inner.slices] = brain.foreground
    turned = None
    if truth is not None:
        turned = np.zeros(windows.shape[2:], dtype=np.uint8)
        turned[inner.slices] = truth[brain.box.slices]
    return Proof(name=case.name, windows=windows, foreground=foreground, truth=turned)


def read_proofs(cases: Iterable[CaseFiles], divisor: int) -> Iterator[Proof]:
    """The proofs of cases, each read when it is asked for, with the segmentation of each that has one.

    Raises CaseError, also for a segmentation on another grid.
    """
    for files in cases:
        case = read_case(files)
        yield proof_of(case, divisor, read_reference(files, case) if files.found.get("seg") else None)


def fitted(proof: Proof, shapes: Sequence[tuple[int, ...]]) -> Proof:
    """The proof in a shape that an engine takes: cut or padded about its middle, axis by axis, where it must be.

    `shapes` are those of the engine's manifest: one, the smallest and the largest, or none where it takes any.
    """
    if not shapes:
        return proof
    edges = zip(shapes[0], proof.windows.shape[2:], shapes[-1], strict=True)
    shape = tuple(min(max(least, edge), most) for least, edge, most in edges)
    if shape == proof.windows.shape[2:]:
        return proof
    truth = None if proof.truth is None else _middle(proof.truth, shape)
    windows, foreground = _middle(proof.windows, shape), _middle(proof.foreground, shape)
    return dataclasses.replace(proof, windows=windows, foreground=foreground, truth=truth)


def answers_of(reference: Backend, proofs: Iterable[Proof]) -> list[Answer]:
    """What the reference makes of each proof: worked out once, held against every candidate.

    Of a whole brain an answer takes 0.13 GB: for many see `stored_answers`, and for one candidate `parities`.
    """
    answers = []
    for proof in proofs:
        logits = reference.logits(proof.windows)[0].copy()  # (K, X, Y, Z)
        answers.append(Answer(proof=proof, logits=logits, labels=labels_from_logits(logits) * proof.foreground))
    return answers


def compare(reference: str, answers: Sequence[Answer], candidate: Backend, limits: Limits) -> Parity:
    """The parity of `candidate` with the `answers` of what `reference` names.

    Raises ShapeError for no answer, NumericsError for NaN in the candidate's logits.
    """
    each = []
    for count, answer in enumerate(answers, start=1):
        if len(answers) > 1:
            NOTICES.info("comparing %d/%d %s", count, len(answers), answer.proof.name)
        each.append(_compared(reference, answer, candidate, limits))
    return merged(each)


def parities(
    proofs: Iterable[Proof], reference: tuple[str, Backend], candidate: Backend, limits: Limits
) -> Iterator[Parity]:
    """The parity of `candidate` on each proof with the reference, by name and backend.

    When the next is read nothing of the one before is held: a laptop cannot hold many brains. Raises like `compare`.
    """
    name, held = reference
    for proof in proofs:
        NOTICES.info("comparing %s", proof.name)
        [answer] = answers_of(held, [proof])
        parity = _compared(name, answer, candidate, limits)
        del proof, answer
        yield parity


def _compared(reference: str, answer: Answer, candidate: Backend, limits: Limits) -> Parity:
    """The parity on one case: of the candidate's logits, and of the labels that it makes itself."""
    proof = answer.proof
    logits = candidate.logits(proof.windows)[0]
    error = np.abs(answer.logits - logits)  # before the next call, which may overwrite them
    labels_of_logits = labels_from_logits(logits) * proof.foreground  # of windows, which are blended
    labels = candidate.labels(proof.windows)[0] * proof.foreground  # as a case is segmented: maybe by another graph
    change: dict[str, float] = {}
    if proof.truth is not None:
        ours, theirs = _dice(proof.truth, labels), _dice(proof.truth, answer.labels)
        change = {region: ours[region] - theirs[region] for region in REGIONS}
    return Parity(
        reference=reference,
        candidate=str(candidate.device),
        cases=(proof.name,),
        label_agreement=min(_agreement(answer, labels), _agreement(answer, labels_of_logits)),
        mean_logit_error=float(error.mean()),
        largest_logit_error=float(error.max()),
        dice_between=_dice(answer.labels, labels),
        dice_change=change,
        limits=limits,
    )


def merged(parities: Sequence[Parity]) -> Parity:
    """The parity on the cases of all: the worst label agreement and logit error, means of the rest.

    Each is that of one case. Raises ShapeError for none.
    """
    if not parities:
        raise ShapeError("no case to compare on: give one or more")
    scored = [parity.dice_change for parity in parities if parity.dice_change]
    return dataclasses.replace(
        parities[0],
        cases=tuple(name for parity in parities for name in parity.cases),
        label_agreement=min(parity.label_agreement for parity in parities),
        mean_logit_error=statistics.fmean(parity.mean_logit_error for parity in parities),
        largest_logit_error=float(np.max([parity.largest_logit_error for parity in parities])),  # max() passes over NaN
        dice_between={
            region: statistics.fmean(parity.dice_between[region] for parity in parities) for region in REGIONS
        },
        dice_change={region: statistics.fmean(change[region] for change in scored) for region in REGIONS if scored},
    )


def limits_for(arithmetic: str, device: Device) -> Limits:
    """What is allowed to a graph of that arithmetic on that device: the widest limits of the precisions in it."""
    precisions = {arithmetic, device.precision, device.others}
    return LIMITS[next(name for name in ("int8", "bf16", "float16", "float32") if name in precisions)]


def open_reference(bundle: Bundle) -> tuple[str, Backend]:
    """The float32 bundle in what others are held to, and its name: torch, or ONNX Runtime where torch is absent.

    Raises BundleError if the bundle computes in another arithmetic.
    """
    if bundle.arithmetic != "float32":
        raise BundleError(
            f"{bundle.path}: computes in {bundle.arithmetic}, the reference is the float32 bundle: --bundle"
        )
    name = "torch" if "torch" in available_backends() else "ort"
    return f"{bundle.spec.name} in {name} float32", open_backend(name, bundle, "float32")


def _agreement(answer: Answer, labels: LabelArray) -> float:
    return float((labels == answer.labels)[answer.proof.foreground].mean())


def _dice(one: LabelArray, other: LabelArray) -> dict[str, float]:
    found = overlaps(one, other)
    return {region: found[region].dice for region in REGIONS}


def _middle(array: npt.NDArray[Kind], shape: Sequence[int]) -> npt.NDArray[Kind]:
    """The middle of the last three axes, cut or padded with zeros to `shape`."""
    result: npt.NDArray[Kind] = np.zeros((*array.shape[:-3], *shape), dtype=array.dtype)
    source: list[slice] = []
    target: list[slice] = []
    for have, want in zip(array.shape[-3:], shape, strict=True):
        width = min(have, want)
        source.append(slice((have - width) // 2, (have - width) // 2 + width))
        target.append(slice((want - width) // 2, (want - width) // 2 + width))
    into: tuple[EllipsisType | slice, ...] = (Ellipsis, *target)
    out_of: tuple[EllipsisType | slice, ...] = (Ellipsis, *source)
    result[into] = array[out_of]
    return result
